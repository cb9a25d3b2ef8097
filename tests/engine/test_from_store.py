import numpy as np
import pytest
from command import ROOT

from bharnet_mm import create_model
from bharnet_mm.datasets import Clip, StoreWriter
from bharnet_mm.engine.arguments import check_checkpoint, check_data, check_numbers
from bharnet_mm.engine.config_file import load_config
from bharnet_mm.engine.from_store import fill_from_store
from bharnet_mm.errors import BHaRNetError, ConfigError
from bharnet_mm.layouts import get_layout

OWN = sorted((ROOT / 'configs').glob('*_own.py'))


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    """Twelve clips of four classes and three subjects in COCO's layout, as from a video."""
    path = tmp_path_factory.mktemp('own') / 'store'
    random, coco = np.random.default_rng(0), get_layout('coco')
    splits = {'own_train': {'subject': ['1', '2']}, 'own_test': {'subject': ['0']}}
    with StoreWriter(
        path,
        name='own',
        body_layout='coco',
        hand_layout='hand',
        body_channels=('x', 'y'),
        classes=list('abcd'),
        splits=splits,
    ) as writer:
        for number in range(12):
            body = random.uniform(0.2, 0.8, (1, 40, coco.num_joints, 2)).astype(np.float32)
            hand = random.uniform(0.2, 0.8, (1, 2, 40, 21, 3)).astype(np.float32)
            ones = np.ones((1, 40), np.float32)
            writer.add(
                Clip(
                    f'clip{number}',
                    number % 4,
                    body,
                    ones,
                    hand,
                    np.ones((1, 2, 40), np.float32),
                    np.arange(40, dtype=np.int32),
                    subject=str(number % 3),
                    image_size=(640, 480),
                    units=('fraction', 'fraction'),
                )
            )
    return path


@pytest.mark.parametrize('path', OWN, ids=lambda path: path.stem)
def test_one_config_fits_any_store(path, store):
    cfg = fill_from_store(load_config(path, {'data_root': str(store), 'max_epochs': 3}))
    assert "'store:" not in repr(cfg._cfg_dict.to_dict())
    assert cfg.model.cls_head.num_classes == 4
    steps = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['SelectJoints']['layout'] == 'coco'
    assert steps['SampleWindow']['num_frames'] == cfg.model.num_frames == 16
    assert cfg.train_dataloader.dataset.split == 'own_train'
    assert cfg.test_dataloader.dataset.split == 'own_test'
    assert cfg.train_cfg.max_epochs == 3
    for expert in ('body', 'hand'):
        if cfg.model.backbone.get(expert):
            assert cfg.model.backbone[expert].in_channels == 2


def test_values_given_by_hand_are_kept(store):
    options = {'data_root': str(store), 'num_frames': 32, 'split': 'own'}
    cfg = fill_from_store(load_config(OWN[-1], options))
    steps = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['SampleWindow']['num_frames'] == 32


def test_a_config_without_such_values_needs_no_store():
    cfg = load_config(ROOT / 'configs' / 'bharnet_p_asl10.py')
    before = repr(cfg._cfg_dict.to_dict())
    assert repr(fill_from_store(cfg)._cfg_dict.to_dict()) == before


@pytest.mark.parametrize(
    'options, said',
    [
        ({'data_root': 'nowhere'}, 'nowhere'),
        ({'split': 'xsub'}, None),
        ({'model.cls_head.num_classes': 'store:classes'}, "'store:num_classes'"),
    ],
)
def test_what_is_wrong_is_said(options, said, store):
    cfg = load_config(ROOT / 'configs' / 'bharnet_p_own.py', {'data_root': str(store), **options})
    if said is None:  # a split that the store lacks is refused where the data set is built
        assert fill_from_store(cfg).train_dataloader.dataset.split == 'xsub_train'
        return
    with pytest.raises(BHaRNetError, match=said):
        fill_from_store(cfg)


def test_hands_are_needed_by_a_hand_expert(store, tmp_path):
    path = tmp_path / 'bodies'
    with StoreWriter(
        path,
        name='bodies',
        body_layout='coco',
        body_channels=('x', 'y'),
        classes=['a'],
        splits={},
        hand_layout=None,
    ) as writer:
        body = np.full((1, 4, 17, 2), 0.5, np.float32)
        hand = np.zeros((1, 2, 4, 21, 3), np.float32)
        score = np.ones((1, 4), np.float32)
        frames = np.arange(4, dtype=np.int32)
        writer.add(Clip('a', 0, body, score, hand, np.zeros((1, 2, 4), np.float32), frames))
    cfg = load_config(ROOT / 'configs' / 'bharnet_b_own.py', {'data_root': str(path)})
    with pytest.raises(BHaRNetError, match='body_own'):
        fill_from_store(cfg)


@pytest.mark.parametrize('name', ['bharnet_p_own', 'bharnet_m_own'])
def test_a_model_by_name_takes_its_sizes_from_a_store(store, name):
    model = create_model(name, store=store)
    assert model.cls_head.num_classes == 4
    assert create_model(name, num_classes=7, store=store).cls_head.num_classes == 7


def test_what_cannot_be_trained_or_tested_is_refused_early(tmp_path):
    with pytest.raises(ConfigError, match='no such file'):
        check_checkpoint(str(tmp_path / 'none.pth'))
    check_checkpoint('https://example.org/model.safetensors')
    with pytest.raises(ConfigError, match='max_epochs: found 0'):
        check_numbers(dict(train_cfg=dict(max_epochs=0)))
    check_numbers(dict(train_cfg=dict(max_epochs=1)))
    check_numbers(dict(train_cfg=None))


def test_one_class_is_refused_before_the_training(store):
    def loaders(split):
        dataset = dict(type='BodyHandDataset', store=str(store), split=split)
        return dict(train_dataloader=dict(dataset=dict(type='Wrapper', dataset=dataset)))

    one = {'clip_id': [f'clip{number}' for number in (1, 5, 9)]}
    with pytest.raises(ConfigError, match="training clips of the class 'b' only"):
        check_data(loaders(one), ('train',))
    check_data(dict(test_dataloader=loaders(one)['train_dataloader']), ('test',))
    check_data(loaders('own_train'), ('train',))


@pytest.mark.parametrize(
    'name, value',
    [
        ('train_cfg.max_epochs', 1.5),
        ('train_cfg.val_interval', 0),
        ('train_dataloader.batch_size', 0),
        ('val_dataloader.num_workers', -1),
        ('default_hooks.logger.interval', 0),
        ('default_hooks.checkpoint.interval', 0),
        ('optim_wrapper.optimizer.lr', -1.0),
        ('optim_wrapper.optimizer.lr', float('nan')),
    ],
)
def test_numbers_that_would_end_a_training_in_its_middle(name, value):
    for key in reversed(name.split('.')):
        value = {key: value}
    with pytest.raises(ConfigError, match=name):
        check_numbers(value)
    check_numbers({'default_hooks': {'checkpoint': {'interval': -1}}})
