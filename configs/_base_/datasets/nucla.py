# Northwestern-UCLA, cross-view: trains on views 1 and 2, tests on view 3. Bodies only.
#   python tools/data/nucla.py nucla_all_sqe.tgz data/nucla
_base_ = 'small.py'

store = f'{_base_.data_root}/nucla'
protocol = 'xview'  # or a view to test on: view1, view2, view3
num_frames = 52

prepare = [
    dict(type='SelectPersons', max_persons=1),
    dict(type='NormalizeSkeleton', part='body', center='first', scale='clip'),
]
train_pipeline = [
    *prepare,
    # The views are trimmed differently, so time is warped.
    dict(type='SampleWindow', num_frames=num_frames, window=(0.8, 1.0), min_frames=16, warp=4),
    # The test view is a third one, so the scene is rotated about the vertical (y) and tilted a
    # little.
    dict(type='RandomRotate', theta=(0.3, 1.0, 0.1)),
    dict(type='RandomScale', scale=0.2),
    dict(type='RandomMirror', prob=0.5),
    *_base_.pack,
]
middle = dict(type='SampleWindow', num_frames=num_frames, window=0.95)
test_pipeline = [*prepare, middle, *_base_.pack]

train_dataloader = dict(
    dataset=dict(store=store, split=f'{protocol}_train', pipeline=train_pipeline)
)
val_dataloader = test_dataloader = dict(
    dataset=dict(store=store, split=f'{protocol}_test', pipeline=test_pipeline)
)
