"""A card in a file of weights is not believed."""

import dataclasses
import json

import numpy as np
import pytest
from mmaction.registry import MODELS
from safetensors.torch import load_file, save_file

from bharnet_mm.apis.foreign_model import check_types, without_sources
from bharnet_mm.apis.model_card import CARD_KEY, ModelCard, read_card
from bharnet_mm.apis.model_zoo import trained_folder
from bharnet_mm.apis.recognizer import load_recognizer
from bharnet_mm.datasets.clip import Clip
from bharnet_mm.errors import BHaRNetError, ConfigError

SHIPPED = trained_folder() / 'bharnet_light_asl10.safetensors'


@pytest.fixture(scope='module')
def shipped():
    return read_card(SHIPPED), load_file(SHIPPED)


@pytest.fixture
def publish(shipped, tmp_path):
    def write(**changes):
        card, state = shipped
        text = json.dumps(dataclasses.asdict(card) | changes)
        save_file(state, tmp_path / 'x.safetensors', {CARD_KEY: text})
        return tmp_path / 'x.safetensors'

    return write


def changed(config, path, value):
    """A copy of nested dicts and lists with the entry at a path replaced."""
    config = json.loads(json.dumps(config))
    at = config
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return config


@pytest.mark.parametrize('place', [[], ['data_preprocessor'], ['backbone', 'body'], ['cls_head']])
@pytest.mark.parametrize('kind', ['subprocess.call', 'os.system', 'antigravity', 'VindLUVQA'])
def test_a_model_that_names_other_code(place, kind, publish, shipped, tmp_path):
    made = tmp_path / 'made'
    evil = dict(type=kind, args=f'touch {made}', shell=True)
    model = changed(shipped[0].model, place, evil) if place else evil
    with pytest.raises(ConfigError, match=f"the type '{kind}'"):
        load_recognizer(publish(model=model))
    assert not made.exists()


@pytest.mark.parametrize('kind', ['subprocess.call', 'OpenCVInit', 'PyAVInit'])
def test_a_pipeline_that_names_other_code(kind, publish, shipped, tmp_path):
    step = dict(type=kind, args=f'touch {tmp_path / "made"}', shell=True)
    with pytest.raises(ConfigError, match=f"the type '{kind}'"):
        load_recognizer(publish(pipeline=[*shipped[0].pipeline, step]))
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize(
    'path, value',
    [
        (['backbone', 'body', 'num_blocks'], 10**5),
        (['backbone', 'hand', 'num_stream'], 10**5),
        (['backbone', 'body', 'base_channels'], 16 * 10**3),
        (['backbone', 'body', 'base_channels'], 10**15),
        (['backbone', 'body', 'layout'], {'name': 'x'}),
        (['cls_head', 'num_classes'], 11),
        (['num_frames'], float('nan')),
        (['cls_head', 'unknown'], 1),
    ],
)
def test_a_model_that_is_not_that_of_the_weights(path, value, publish, shipped):
    with pytest.raises(BHaRNetError):
        load_recognizer(publish(model=changed(shipped[0].model, path, value)))


def test_a_model_that_loads_and_cannot_run(publish, shipped):
    model = changed(shipped[0].model, ['cls_head', 'attention', 'num_heads'], -1)
    recognizer = load_recognizer(publish(model=model))
    body, hand = np.zeros((1, 9, 33, 3), np.float32), np.zeros((1, 2, 9, 21, 3), np.float32)
    body[:] = np.random.default_rng(0).normal(size=body.shape)
    seen = np.ones((1, 9), np.float32), np.ones((1, 2, 9), np.float32)
    clip = Clip('a', 0, body, seen[0], hand + body[:, None, :, :21], seen[1], np.arange(9))
    with pytest.raises(ConfigError, match='bharnet_light_asl10.*found'):
        recognizer.predict([clip])


@pytest.mark.parametrize(
    'backbone, fine',
    [
        (dict(type='timm.tf_efficientnet_lite0', pretrained='efficientnet_lite0'), True),
        (dict(type='TimmBackbone', model='tf_efficientnet_lite0'), True),
        (dict(type='TimmBackbone', model='hf-hub:somebody/something'), False),
        (dict(type='timm.hf_hub:somebody/something'), False),
        (dict(type='torchvision.resnet18'), False),
    ],
)
def test_networks_of_timm_by_name_only(backbone, fine):
    where = 'model'
    if fine:
        check_types(backbone, where)
    else:
        with pytest.raises(ConfigError, match='the type'):
            check_types(backbone, where)
    address = dict(pretrained='https://x/y.pth', checkpoint_path='/x', experts_checkpoint='/y')
    assert without_sources(backbone | address) == {
        key: value for key, value in backbone.items() if key != 'pretrained'
    }
    assert without_sources(backbone) == backbone  # the name of shipped weights stays


def test_other_files_are_not_opened(publish, shipped):
    model = changed(shipped[0].model, ['init_cfg'], dict(type='Pretrained', checkpoint='/no/file'))
    assert load_recognizer(publish(model=model)).classes == shipped[0].classes


@pytest.mark.parametrize(
    'changes',
    [
        dict(temperature=float('nan')),
        dict(temperature=True),
        dict(unsure_below=1.5),
        dict(window=1e300),
        dict(classes=[]),
        dict(classes='ab'),
        dict(classes=[1, 2]),
        dict(channels={'body': ['x', 'y']}),
        dict(channels={'body': 'xy', 'hand': ['x']}),
        dict(pipeline=[{'typ': 'x'}]),
        dict(pipeline='x'),
        dict(model=[]),
        dict(results={'top1': 'high'}),
        dict(name=None),
        dict(body_layout=7),
        dict(body_layout='nobody'),
    ],
)
def test_a_damaged_card(changes, publish):
    path = publish(**changes)
    with pytest.raises(BHaRNetError, match='expected'):
        read_card(path)


def test_texts_that_are_no_card():
    for text in ('', '[]', '{', '{}', '3', '[' * 10**5, '{"name": 1}'):
        with pytest.raises(ConfigError, match='where: found'):
            ModelCard.from_json(text, 'where')


def test_parts_that_the_user_registered_are_built(publish, shipped):
    @MODELS.register_module(force=True)
    class OwnPreprocessor(MODELS.get('BodyHandPreprocessor')):
        pass

    model = changed(shipped[0].model, ['data_preprocessor', 'type'], 'OwnPreprocessor')
    found = load_recognizer(publish(model=model)).model.data_preprocessor
    assert type(found) is OwnPreprocessor
