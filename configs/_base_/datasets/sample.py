# The embedded synthetic sample: NTU-like clips, 16 classes
# (bharnet_mm/datasets/synthetic/sample.py).
#   python tools/data/sample.py data/sample
_base_ = 'small.py'

store = f'{_base_.data_root}/sample'
protocol = 'xsub'
num_frames = 16

prepare = [
    dict(type='SelectPersons', max_persons=2),
    _base_.fill,
    dict(type='NormalizeSkeleton', part='body', center='first', scale='clip'),
    _base_.hand_at_wrist,
]
pack = [
    _base_.flat_hand,
    dict(type='FormatBodyHand', num_persons=2, visibility=_base_.visibility),
    dict(type='PackBodyHand'),
]

train_pipeline = [
    *prepare,
    dict(type='SampleWindow', num_frames=num_frames, window=(0.7, 1.0)),
    dict(type='RandomMirror', prob=0.5),
    dict(type='RandomRotate', theta=0.3),
    dict(type='RandomScale', scale=0.1),
    *pack,
]
test_pipeline = [*prepare, dict(type='SampleWindow', num_frames=num_frames, window=0.95), *pack]

train_dataloader = dict(
    batch_size=30, dataset=dict(store=store, split=f'{protocol}_train', pipeline=train_pipeline)
)
val_dataloader = test_dataloader = dict(
    batch_size=60, dataset=dict(store=store, split=f'{protocol}_test', pipeline=test_pipeline)
)
