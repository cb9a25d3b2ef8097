"""BHaRNet-M from a tree laid out as the NTU RGB+D 120 download is, to the test of a checkpoint."""

import json
import runpy
import sys

import cv2
import numpy as np
import pytest
import torch
from command import ROOT

from bharnet_mm.datasets import ClipStore
from bharnet_mm.datasets.extraction.estimators import HandPose
from bharnet_mm.datasets.protocols import NTU120_TRAIN_SUBJECTS
from bharnet_mm.datasets.sources.ntu_text import COLOR, TRACKING, SkeletonText, format_skeleton
from bharnet_mm.evaluation import load_scores

WIDTH, HEIGHT, FRAMES = 480, 270, 12  # a quarter of the size of NTU's pictures
# The split wants every training subject; some of the clips are of classes with two people.
TRAIN = tuple(
    f'S{1 + i % 32:03}C{1 + i % 3:03}P{subject:03}R001A{1 + 2 * i:03}'
    for i, subject in enumerate(NTU120_TRAIN_SUBJECTS)
)
TEST = ('S001C001P003R001A001', 'S019C001P006R001A060')
BLIND = TRAIN[7]  # its video breaks on the way


class HandAtEveryWrist:
    """An estimator that needs no library: an open hand hangs on each arm it is shown."""

    body_layout, body_channels, hand_channels = 'coco', ('x', 'y'), ('x', 'y', 'z')

    def __init__(self, models=None, min_score=0.5):
        pass

    def start(self):
        pass

    def hands(self, image, arms, taken=()):
        spread = np.array([[0, 0, 0]] + [[f - 2, -k - 2, 0.1] for f in range(5) for k in range(4)])
        return [
            HandPose(np.array([*arm.wrist, 0]) + 0.1 * arm.size * spread, 0.9, float(arm.side))
            for arm in arms
            if not taken
        ]


def person(seed, left):
    """Joints ``(T, 25, 12)`` of somebody who waves, and where in the picture they are."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((FRAMES, 25, 12))
    pose = rng.normal(scale=[0.15, 0.5, 0.15], size=(25, 3)) + [left, 0.2, 3.0]
    wave = 0.2 * np.sin(np.linspace(0, 6, FRAMES))[:, None] * rng.random(25)
    joints[..., :3] = pose
    joints[..., 1] += wave
    # In the coordinates of a 1920 x 1080 picture, whatever size the video has.
    joints[..., COLOR] = [960, 540] + 300 * joints[..., :2] * [1, -1]
    joints[..., TRACKING] = 2
    return joints


def write_raw(folder):
    """``nturgb+d_skeletons/*.skeleton`` and ``nturgb+d_rgb/*_rgb.avi``."""
    skeletons, videos = folder / 'nturgb+d_skeletons', folder / 'nturgb+d_rgb'
    skeletons.mkdir(parents=True)
    videos.mkdir()
    for number, name in enumerate((*TRAIN, *TEST)):
        places = (-0.7, 0.7) if 50 <= int(name[-3:]) <= 60 else (0.0,)
        people = [person(10 * number + i, left) for i, left in enumerate(places)]
        frame = np.repeat(np.arange(FRAMES), len(people)).astype(np.int32)
        ids = np.tile(2**56 + np.arange(len(people)), FRAMES)
        joints = np.stack(people, 1).reshape(-1, 25, 12)
        text = SkeletonText(FRAMES, frame, ids, np.zeros((len(frame), 9)), joints)
        (skeletons / f'{name}.skeleton').write_bytes(format_skeleton(text))
        code = cv2.VideoWriter_fourcc(*'MJPG')
        writer = cv2.VideoWriter(str(videos / f'{name}_rgb.avi'), code, 30, (WIDTH, HEIGHT))
        for t in range(FRAMES):
            image = np.full((HEIGHT, WIDTH, 3), 4 * number, np.uint8)
            for joint in np.concatenate([body[t, :, COLOR] for body in people]):
                cv2.circle(image, tuple(int(v / 4) for v in joint), 5, (0, 200, 255), -1)
            writer.write(image)
        writer.release()
    return skeletons, videos


@pytest.fixture
def tool(monkeypatch, capsys):
    """Runs a tool in this process, which saves its start; returns what it printed."""

    def call(name, *words):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, words)])
        try:
            runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
        except SystemExit as status:
            assert not status.code, capsys.readouterr().out
        return capsys.readouterr().out

    # A run prints its config, and the formatter takes longer than the run.
    monkeypatch.setattr('mmengine.config.config.FormatCode', lambda text, **style: (text, True))
    return call


# The schedule is made for 80 epochs.
ONE_EPOCH = ('train_cfg.max_epochs=1', 'param_scheduler=None')
NARROW = (
    'model.backbone.body.base_channels=16',
    'model.backbone.hand.base_channels=16',
    'model.rgb.backbone.num_stages=1',
    'model.rgb.backbone.out_indices=(0,)',
    'model.rgb.backbone.strides=(2,)',
    'model.rgb.backbone.dilations=(1,)',
)


def test_from_raw_files_to_the_test_of_a_checkpoint(tmp_path, tool):
    skeletons, videos = write_raw(tmp_path / 'raw')
    data = tmp_path / 'data'
    tool('data/ntu.py', skeletons, data / 'ntu120_body', '--workers', 1)
    hands = (videos, data / 'ntu120', '--store', data / 'ntu120_body')
    tool(
        'data/extract_hands.py', *hands, '--backend', f'{__name__}:HandAtEveryWrist', '--workers', 0
    )
    (videos / f'{BLIND}_rgb.avi').write_bytes(b'nonsense')
    printed = tool(
        'data/extract_regions.py', videos, data / 'ntu120', data / 'ntu120_regions', '--workers', 0
    )
    assert f'kept      {len(TRAIN) + len(TEST) - 1} clips' in printed

    assert BLIND in (data / 'ntu120_regions/refused.json').read_text()

    store = ClipStore(data / 'ntu120')
    assert len(store) == len(TRAIN) + len(TEST)
    clip = store[store.find(TEST[1])]
    assert len(clip.body) == 2 and (clip.hand_score > 0).mean() > 0.9

    config, work_dir = ROOT / 'configs/bharnet_m_ntu120.py', tmp_path / 'run'
    options = ('--cfg-options', f'data_root={data}', *NARROW)
    for loader in ('train', 'val', 'test'):
        options += (f'{loader}_dataloader.num_workers=0',)
        options += (f'{loader}_dataloader.persistent_workers=False',)
    tool('train.py', config, '--work-dir', work_dir, *options, *ONE_EPOCH)
    logged = [
        json.loads(line) for f in work_dir.glob('*/vis_data/scalars.json') for line in open(f)
    ]
    losses = next(line for line in logged if 'loss_rgb' in line)
    assert all(np.isfinite(losses[f'loss_{name}']) for name in ('body', 'hand', 'rgb', 'cpl'))
    validated = next(line for line in logged if 'acc/top1' in line)
    assert {'acc/body_top1', 'acc/hand_top1', 'acc/rgb_top1'} <= set(validated)

    scores = tmp_path / 'scores.npz'
    tool(
        'test.py',
        config,
        work_dir / 'epoch_1.pth',
        '--work-dir',
        work_dir,
        '--dump',
        scores,
        *options,
    )
    saved = load_scores(scores)
    assert set(saved.clip_id) == set(TEST) and saved.logits['rgb'].any(1).all()

    # In two stages: the experts of this run, frozen, under new pictures.
    experts = (
        'model.experts_checkpoint=' + str(work_dir / 'epoch_1.pth'),
        'model.freeze_experts=True',
    )
    second = tmp_path / 'second'
    tool('train.py', config, '--work-dir', second, *options, *ONE_EPOCH, *experts)
    before, after = (
        torch.load(folder / 'epoch_1.pth', weights_only=True)['state_dict']
        for folder in (work_dir, second)
    )
    kept = [name for name in before if torch.equal(before[name], after[name])]
    assert {name for name in before if 'rgb' not in name} <= set(kept)
    assert len(kept) < len(before)
