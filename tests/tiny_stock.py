"""A stock MMAction2 STGCN on random skeletons, which trains in seconds, for tests."""

import pickle
from pathlib import Path

import numpy as np

CONFIG = """
custom_imports = dict(imports=['bharnet_mm'])
default_scope = 'mmaction'
model = dict(
    type='RecognizerGCN',
    backbone=dict(
        type='STGCN',
        graph_cfg=dict(layout='coco', mode='stgcn_spatial'),
        base_channels=4,
        num_stages=2,
        inflate_stages=[],
        down_stages=[],
    ),
    cls_head=dict(type='GCNHead', num_classes=2, in_channels=4),
)
pipeline = [
    dict(type='PreNormalize2D', img_shape=(1, 1)),
    dict(type='GenSkeFeat', dataset='coco', feats=['j']),
    dict(type='UniformSampleFrames', clip_len=8),
    dict(type='PoseDecode'),
    dict(type='FormatGCNInput', num_person=1),
    dict(type='PackActionInputs', meta_keys=('frame_dir',)),
]
test_pipeline = pipeline[:2] + [
    dict(type='UniformSampleFrames', clip_len=8, num_clips=1, test_mode=True)
] + pipeline[3:]
data = dict(type='PoseDataset', ann_file='{ann_file}')
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(split='train', pipeline=pipeline, **data),
)
val_dataloader = test_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='test', pipeline=test_pipeline, test_mode=True, **data),
)
val_evaluator = test_evaluator = [dict(type='AccMetric')]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', interval=1, save_best='acc/top1'),
)
custom_hooks = [dict(type='NonFiniteGuardHook'), dict(type='EpochSeedHook')]
env_cfg = dict(mp_cfg=dict(mp_start_method='fork'), dist_cfg=dict(backend='nccl'))
randomness = dict(seed=1)
"""


def write_tiny_stock(folder: Path, nan_clip: str | None = None) -> Path:
    """Writes 12 training and 6 test clips (1, 10, 17, 2) and a config; returns its path."""
    rng = np.random.default_rng(0)
    clips, names = [], [f'clip{i:02d}' for i in range(18)]
    for i, name in enumerate(names):
        keypoint = rng.standard_normal((1, 10, 17, 2)) + 2 * (i % 2)
        if name == nan_clip:
            keypoint[0] = np.nan  # in every frame, whichever are drawn
        clips.append(
            dict(
                frame_dir=name,
                label=i % 2,
                keypoint=keypoint.astype(np.float32),
                keypoint_score=np.ones((1, 10, 17), np.float32),
                total_frames=10,
                img_shape=(1, 1),
                original_shape=(1, 1),
            )
        )
    ann_file = folder / 'tiny.pkl'
    split = dict(train=names[:12], test=names[12:])
    ann_file.write_bytes(pickle.dumps(dict(split=split, annotations=clips)))
    config = folder / 'tiny.py'
    config.write_text(CONFIG.replace('{ann_file}', str(ann_file)))
    return config
