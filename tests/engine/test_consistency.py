"""What a checkpoint says it is, the config and the data have to belong together."""

import argparse
import json
import shutil
from dataclasses import replace

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny_sample import ROOT, write_tiny_sample

from bharnet_mm.apis import test as test_tool
from bharnet_mm.apis import train as train_tool
from bharnet_mm.datasets import ClipStore, StoreWriter
from bharnet_mm.engine.config_file import load_config
from bharnet_mm.engine.consistency import META_KEY, differences, model_facts
from bharnet_mm.errors import BHaRNetError, ConfigError
from bharnet_mm.evaluation import load_scores
from bharnet_mm.experiments import fuse as fuse_tool


def call(tool, *words):
    """Runs a tool within this process: importing everything anew takes longer than the tool."""
    words = [str(word) for word in words]
    if hasattr(tool, 'main'):
        tool.main(words)
        return
    parser = argparse.ArgumentParser()
    tool.add_arguments(parser)
    tool.run(parser.parse_args(words))


def logged(work_dir):
    """All that a tool wrote to the log files of a work folder."""
    return ''.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('consistency')
    config = write_tiny_sample(folder, epochs=1)
    call(train_tool, config, '--work-dir', folder / 'w', '--no-validate')
    return config, folder / 'w/epoch_1.pth'


def test_a_checkpoint_says_what_it_is(trained):
    meta = torch.load(trained[1], weights_only=True)['meta']
    assert meta[META_KEY] == {
        'type': 'BHaRNet',
        'feature': 'joint',
        'num_classes': 16,
        'layout': {'body': 'kinect_v2', 'hand': 'hand'},
        'channels': {'body': 3, 'hand': 2},
    }


def test_score_file_and_log_say_what_was_tested(trained, tmp_path):
    config, checkpoint = trained
    dump = ('--work-dir', tmp_path / 'w', '--dump')
    call(test_tool, config, checkpoint, *dump, tmp_path / 's.npz')
    scores = load_scores(tmp_path / 's.npz')
    store = str(config.parent / 'store')
    assert f"Testing epoch_1.pth on {len(scores)} clips, split 'xsub_test' of {store}" in logged(
        tmp_path / 'w'
    )
    digest = scores.facts.pop('checkpoint_sha256')
    assert len(digest) == 64
    assert scores.facts == {
        'config': 'tiny',
        'checkpoint': 'epoch_1.pth',
        'feature': 'joint',
        'store': store,
        'split': 'xsub_test',
        'clips': len(scores),
        'fusion_weights': {'body': 1.0, 'hand': 1.0},
    }
    # The same checkpoint twice is one opinion, whatever the files are called.
    shutil.copy(tmp_path / 's.npz', tmp_path / 't.npz')
    files = (tmp_path / 's.npz', tmp_path / 't.npz')
    with pytest.raises(ConfigError, match=r"the 'pred' logits of one checkpoint \(epoch_1.pth\)"):
        call(fuse_tool, *files)
    call(fuse_tool, f'{files[0]}:body', f'{files[1]}:hand', '--rounds', 100)


@pytest.mark.parametrize(
    'option, said',
    [
        ('model.backbone.feature=bone', "feature 'joint' instead of 'bone'"),
        ('model.cls_head.num_classes=20', 'found a model with num_classes 16 instead of 20'),
    ],
)
def test_another_model_is_not_tested(trained, option, said, tmp_path):
    with pytest.raises(ConfigError) as caught:
        call(test_tool, *trained, '--work-dir', tmp_path, '--cfg-options', option)
    assert said in str(caught.value) and '--cfg-options' in str(caught.value)


@pytest.mark.parametrize('tool', [test_tool, train_tool], ids=['test', 'resume'])
def test_channels_of_other_names_are_not_tested(tool, trained, tmp_path):
    """Three channels fit three channels, whatever they are."""
    config, checkpoint = trained
    other = shutil.copytree(config.parent / 'store', tmp_path / 'store')
    meta = json.loads((other / 'store.json').read_text())
    meta['channels']['body'] = ['x', 'y', 'score']
    (other / 'store.json').write_text(json.dumps(meta))
    parts = ('train', 'val', 'test')
    options = [f'{part}_dataloader.dataset.store={other}' for part in parts]
    words = [config, checkpoint] if tool is test_tool else [config, '--resume']
    if tool is train_tool:
        shutil.copytree(checkpoint.parent, tmp_path / 'w')
        options.append('train_cfg.max_epochs=2')
    with pytest.raises(ConfigError) as caught:
        call(tool, *words, '--work-dir', tmp_path / 'w', '--cfg-options', *options)
    both = "body channels ['x', 'y', 'z'] where the data give ['x', 'y', 'score']"
    assert both in str(caught.value)


def test_a_part_of_a_model_is_not_tested(trained, tmp_path):
    # Most weights would be those of the checkpoint, and a whole block random.
    option = ('--cfg-options', 'small.num_blocks=3')
    with pytest.raises(BHaRNetError, match='missing .*streams'):
        call(test_tool, *trained, '--work-dir', tmp_path, *option)


def test_other_classes_than_the_datas_are_not_trained(trained, tmp_path):
    options = ('--work-dir', tmp_path, '--cfg-options', 'model.cls_head.num_classes=20')
    with pytest.raises(ConfigError, match='num_classes: found 20; expected 16, the classes of'):
        call(train_tool, trained[0], *options)


def test_facts_of_a_stock_model():
    cfg = load_config(ROOT / 'configs/unified_degcn_asl10.py')
    init_default_scope('mmaction')
    facts = model_facts(MODELS.build(cfg.model), cfg)
    layout = {'backbone': 'mediapipe_upper_body+hand'}
    expected = {'type': 'RecognizerGCN', 'feature': 'joint', 'num_classes': 10, 'layout': layout}
    assert facts == expected | {'channels': {'backbone': 2}}


def test_only_what_both_say_is_compared():
    assert differences({'feature': 'bone', 'num_classes': 3}, {'num_classes': 3}) == []
    assert differences({'feature': 'bone'}, {'feature': 'joint'}) == [
        "feature 'joint' instead of 'bone'"
    ]


def test_shipped_configs_check_themselves():
    for path in (ROOT / 'configs').glob('*.py'):
        hooks = [hook['type'] for hook in Config.fromfile(path).custom_hooks]
        assert 'ConsistencyHook' in hooks, path.stem


def write_part(path, store, classes, number):
    """The first clips of a store with other class names."""
    meta = store.meta
    layouts = dict(body_layout=store.body_layout, hand_layout=store.hand_layout)
    with StoreWriter(
        path, name='part', classes=classes, pixels=meta['pixels'], **layouts
    ) as writer:
        for i in range(6):
            clip = store[i]
            writer.add(replace(clip, label=number(clip.label), clip_id=f'{i}'))
    return path


@pytest.mark.parametrize('classes', [['unknown'], ['one class'], None])
def test_clips_without_labels_and_of_some_classes_are_tested(trained, tmp_path, classes):
    store = ClipStore(trained[0].parent / 'store')
    some = classes or [store.classes[5], store.classes[int(store.labels[0])]]
    part = write_part(tmp_path / 'part', store, some, lambda label: 0 if classes else 1)
    words = ('--work-dir', tmp_path / 'w', '--dump', tmp_path / 's.npz', '--cfg-options')
    options = (f'test_dataloader.dataset.store={part}', 'test_dataloader.dataset.split=None')
    call(test_tool, *trained, *words, *options)
    scores = load_scores(tmp_path / 's.npz')
    assert scores.classes == tuple(store.classes)
    assert scores.logits['fused'].shape == (6, 16)
    known = -1 if classes else int(store.labels[0])
    assert scores.label.tolist() == [known] * 6
    assert ('have no label' in logged(tmp_path / 'w')) == bool(classes)
