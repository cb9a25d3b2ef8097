"""Every shipped config: store, pipelines, model, losses, schedule, hooks and metric, as one run."""

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from bharnet_mm.datasets import Clip, StoreWriter
from bharnet_mm.datasets.protocols import (
    NTU_CLASSES,
    leave_one_out,
    ntu60_splits,
    ntu120_splits,
    nucla_splits,
)
from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.store.regions import RegionWriter, encode
from bharnet_mm.datasets.synthetic.sample import GESTURES, SPLITS
from bharnet_mm.engine.command_line import read_config
from bharnet_mm.engine.config_file import load_config
from bharnet_mm.engine.from_store import fill_from_store
from bharnet_mm.layouts import get_layout

FOLDER = Path(__file__).resolve().parents[2] / 'configs'
CONFIGS = sorted(FOLDER.glob('*.py'))
OWN = ('bharnet_b', 'bharnet_p', 'bharnet_e', 'bharnet_light', 'bharnet_m', 'body', 'hand')


@dataclass(frozen=True)
class Data:
    """What the converter of a data set writes."""

    layout: str
    classes: int
    splits: set = field(default_factory=set)
    hands: bool = True


DATA = {
    'sample': Data('kinect_v2', len(GESTURES), set(SPLITS)),
    'asl10': Data('mediapipe_pose', 10, set(leave_one_out('subject', ['S1', 'S2', 'S3']))),
    'ntu60': Data('kinect_v2', 60, set(ntu60_splits())),
    'ntu120': Data('kinect_v2', 120, set(ntu120_splits())),
    'pkummd': Data('kinect_v2', 51, {'xsub_train', 'xsub_test', 'xview_train', 'xview_test'}),
    'jhmdb': Data(
        'mediapipe_pose', 21, {f'jhmdb{n}_{part}' for n in (1, 2, 3) for part in ('train', 'test')}
    ),
    'own': Data('mediapipe_pose', 5, {'own_train', 'own_test'}),
    'nucla': Data('kinect_v1', 10, set(nucla_splits()), hands=False),
}


def make_clip(number, data, persons, hands):
    """A walk of every joint about a random pose; every fifth frame of it missing."""
    random = np.random.default_rng(number)
    frames = 40
    joints = get_layout(data.layout).num_joints

    def part(*shape):
        pose, step = (
            random.normal(size=(*shape[:-2], 1, shape[-1], 3)),
            random.normal(size=(*shape, 3)),
        )
        return (pose + 0.05 * step.cumsum(axis=-3)).astype(np.float32)

    body_score, hand_score = np.ones((persons, frames)), np.ones((persons, 2, frames))
    body_score[:, ::5] = 0
    hand_score[..., 2::5] = 0
    return Clip(
        clip_id=f'{"train" if number < 2 else "test"}{number}',
        label=number * (data.classes - 1) // 2,
        body=part(persons, frames, joints),
        body_score=body_score.astype(np.float32),
        hand=part(persons, 2, frames, 21),
        hand_score=(hand_score * hands).astype(np.float32),
        frame_index=np.arange(frames, dtype=np.int32),
    )


@pytest.fixture(scope='session')
def stores(tmp_path_factory):
    """Data set → a store of two clips to train on, the second without hands, and one to test on."""
    folder = tmp_path_factory.mktemp('stores')
    for name, data in DATA.items():
        clips = [make_clip(0, data, 2, data.hands), make_clip(1, data, 1, 0)]
        clips.append(make_clip(2, data, 1, data.hands))
        rules = {
            split: {'clip_id': ['test2'] if split.endswith('_test') else ['train0', 'train1']}
            for split in data.splits
        }
        with StoreWriter(
            folder / name,
            name=name,
            body_layout=data.layout,
            hand_layout='hand' if data.hands else None,
            body_channels=('x', 'y', 'z'),
            hand_channels=('x', 'y', 'z') if data.hands else None,
            classes=NTU_CLASSES[: data.classes],  # for their groups; elsewhere any names do
            splits=rules,
        ) as writer:
            for clip in clips:
                writer.add(clip)
        write_regions(folder, FOLDER / f'bharnet_m_{name}.py')
    return folder


def root_of(path, stores):
    """``data_root`` of a config: the folder of all stores, or a user's own store."""
    return str(stores / 'own' if path.stem.endswith('_own') else stores)


def write_regions(folder, path):
    """Noise as the pictures of the first and the last clip, none of the second."""
    if not path.exists():
        return
    config = fill_from_store(load_config(path, {'data_root': root_of(path, folder)}))
    regions = config.test_dataloader.dataset.regions
    fields = RegionGrid.__dataclass_fields__.keys()
    grid = RegionGrid(**{name: value for name, value in regions.items() if name in fields})
    random = np.random.default_rng(0)
    shape = (grid.num_offsets, len(grid.parts), grid.num_frames)
    with RegionWriter(f'{config.store}_regions', grid) as writer:
        for clip_id in ('train0', 'test2'):
            pictures = random.integers(256, size=(grid.num_offsets, grid.channels, *grid.shape))
            pictures = [encode(picture.astype(np.uint8), 90) for picture in pictures]
            writer.add(clip_id, pictures, random.random(shape) > 0.2)
        writer.add('train1', [(b'', b'')] * grid.num_offsets, np.zeros(shape, bool))


@pytest.fixture(autouse=True)
def unformatted(monkeypatch):
    """A run prints its config seven times; the formatter would take longer than the run."""
    monkeypatch.setattr('mmengine.config.config.FormatCode', lambda text, **style: (text, True))


def read(path, stores, work_dir):
    """The config with its stores, and one batch an epoch."""
    options = [f'data_root={root_of(path, stores)}']
    cfg = read_config(
        Namespace(
            config=path,
            launcher='none',
            local_rank=0,
            cfg_options=options,
            work_dir=str(work_dir),
        )
    )
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg[name]
        loader.update(batch_size=2, num_workers=0)
        loader.pop('persistent_workers', None)
    cfg.train_cfg.update(val_begin=1, val_interval=1)
    cfg.log_level = 'ERROR'
    return cfg


class StopAfterOneEpoch(Hook):
    """Schedules and loops are built as they are shipped, however long."""

    def before_train_epoch(self, runner):
        runner.train_loop.stop_training = True


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_rate_is_made_for_the_batch(path):
    cfg = Config.fromfile(path)
    assert cfg.auto_scale_lr.base_batch_size == cfg.train_dataloader.batch_size


def test_there_is_one_for_every_variant_and_data_set():
    names = {path.stem for path in CONFIGS}
    for data in ('sample', 'asl10', 'ntu60', 'ntu120'):
        assert {f'bharnet_{variant}_{data}' for variant in ('b', 'p', 'e', 'light')} <= names
    assert {f'{variant}_own' for variant in OWN} <= names
    for data in DATA.keys() - {'asl10'}:  # which has no videos
        assert f'bharnet_m_{data}' in names
    assert {f'stock_{name}_ntu60' for name in ('degcn', 'stgcn', 'attention', 'regions')} <= names


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_trains_and_validates(path, stores, tmp_path):
    cfg = read(path, stores, tmp_path)
    assert cfg.model.cls_head.num_classes == DATA[Path(cfg.store).name].classes
    init_default_scope(cfg.default_scope)
    runner = Runner.from_cfg(cfg)
    trained = {n: p for n, p in runner.model.named_parameters() if p.requires_grad}
    before = {name: value.detach().clone() for name, value in trained.items()}
    gradients = {}
    for name, parameter in trained.items():
        parameter.register_hook(lambda grad, name=name: gradients.setdefault(name, grad))
    runner.register_hook(StopAfterOneEpoch())
    runner.train()

    # DistributedDataParallel waits for a gradient of every parameter, even a zero one.
    assert gradients.keys() == before.keys()
    assert all(grad.isfinite().all() for grad in gradients.values())
    some = [name for name, grad in gradients.items() if grad.any()]
    # One clip has hands; where these may be dropped the hand expert may get nothing.
    dropped = any(s['type'] == 'DropHands' for s in cfg.train_dataloader.dataset.pipeline)
    assert len(some) > len(before) / (4 if dropped else 2)
    after = dict(runner.model.named_parameters())
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(after[name], before[name]) for name in some)
    top1 = runner.message_hub.get_scalar('val/acc/top1').current()
    assert top1 in (0, 1)  # one clip
    assert (tmp_path / 'epoch_1.pth').exists()


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_test_pipeline_is_not_random(path, stores, tmp_path):
    cfg = read(path, stores, tmp_path)
    init_default_scope(cfg.default_scope)
    dataset = Runner.build_dataloader(cfg.test_dataloader).dataset
    first, second = dataset[0]['inputs'], dataset[0]['inputs']
    if not isinstance(first, dict):
        first, second = {'input': first}, {'input': second}
    for name, value in first.items():
        assert torch.equal(value, second[name])
        assert value.dtype in (torch.float32, torch.bool, torch.uint8)


@pytest.mark.parametrize('name', ['bharnet_p_asl10', 'bharnet_e_sample', 'bharnet_light_own'])
def test_one_value_gives_the_networks_a_channel_of_visibility(name, stores, tmp_path):
    path = next(path for path in CONFIGS if path.stem == name)
    values = {'data_root': root_of(path, stores)}
    cfg = fill_from_store(load_config(path, values | {'visibility': True}))
    init_default_scope(cfg.default_scope)
    dataset = Runner.build_dataloader(cfg.train_dataloader).dataset
    model = MODELS.build(cfg.model)
    data = model.data_preprocessor(pseudo_collate([dataset[0], dataset[0]]), training=True)
    losses = model(**data, mode='loss')
    assert all(bool(value.isfinite().all()) for value in losses.values())
    plain = fill_from_store(load_config(path, values))
    assert data['inputs']['body'].shape[-1] == 1 + plain.model.backbone.body.get('in_channels', 3)
