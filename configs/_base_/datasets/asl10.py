# asl10: 10 ASL signs, 3 signers, MediaPipe Holistic; leave one signer out.
#   python tools/data/holistic.py asl10.npz data/asl10
_base_ = 'small_loaders.py'

store = f'{_base_.data_root}/asl10'
fold = 'S1'  # the signer to test on: S1, S2 or S3
num_frames = 16  # every second one: clips have 30

prepare = [
    dict(type='SelectPersons', max_persons=1),
    dict(type='SelectJoints', layout='mediapipe_upper_body'),
    # Where a hand is, is the body's business; and a hand's z is too noisy to help (our choice).
    dict(type='SelectChannels', part='hand', channels=('x', 'y')),
    dict(type='SelectChannels', part='body', channels=('x', 'y')),
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
    dict(type='SampleWindow', num_frames=num_frames, window=(0.6, 1.0), min_frames=8),
    *augment,
    *pack,
]
test_pipeline = [*prepare, dict(type='SampleWindow', num_frames=num_frames, window=1.0), *pack]

train_dataloader = dict(dataset=dict(store=store, split=f'{fold}_train', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(store=store, split=f'{fold}_test', pipeline=test_pipeline))
test_dataloader = val_dataloader
