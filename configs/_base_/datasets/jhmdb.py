# JHMDB: 21 actions in 928 short clips, three official splits. Bodies and hands by MediaPipe, from
# the videos (docs/data.md).
_base_ = 'small_loaders.py'

store = f'{_base_.data_root}/jhmdb'
split = 'jhmdb1'  # or jhmdb2, jhmdb3
num_frames = 32  # clips have 15 to 40

prepare = [
    dict(type='SelectPersons', max_persons=1),
    dict(type='SelectJoints', layout='coco'),
    # The depths of MediaPipe are too noisy to help (our choice).
    dict(type='SelectChannels', part='body', channels=('x', 'y')),
    dict(type='SelectChannels', part='hand', channels=('x', 'y')),
    dict(type='InterpolateMissing', max_gap=8),
    dict(type='NormalizeSkeleton', part='body', center='frame', scale='clip'),
    dict(type='NormalizeSkeleton', part='hand', space='canonical', center='frame', scale='clip'),
]
augment = [
    dict(type='RandomMirror', prob=0.5),
    dict(type='RandomRotate', theta=0.3, plane='image'),
    dict(type='RandomScale', scale=0.2, shear=0.1),
    dict(type='RandomNoise', sigma=dict(body=0.02, hand=0.02)),
]
pack = [dict(type='FormatBodyHand', num_persons=1), dict(type='PackBodyHand')]

train_pipeline = [
    *prepare,
    dict(type='SampleWindow', num_frames=num_frames, window=(0.7, 1.0), min_frames=12),
    *augment,
    *pack,
]
test_pipeline = [*prepare, dict(type='SampleWindow', num_frames=num_frames, window=1.0), *pack]

train_dataloader = dict(dataset=dict(store=store, split=f'{split}_train', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(store=store, split=f'{split}_test', pipeline=test_pipeline))
test_dataloader = val_dataloader
