# NTU RGB+D: 25-joint bodies in camera metres, hands by tools/data/extract_hands.py (MediaPipe: x, y
# in image fractions, z relative to the wrist). docs/data.md describes the way from the download.
# ntu60.py and ntu120.py add store and split.
data_root = 'data'  # all stores lie below it; --cfg-options data_root=... moves them
num_frames = 64

prepare = [
    dict(type='SelectPersons', max_persons=2),
    dict(type='InterpolateMissing', max_gap=8),
    # Native coordinates, as in the journal version; center='first' removes the person's place in
    # the room (our choice). space='canonical' is the IROS paper's way, in our reading.
    dict(type='NormalizeSkeleton', part='body', space='native', center='first', scale='none'),
    # Each hand about its own wrist in units of its palm, left hands mirrored (our choice).
    dict(type='NormalizeSkeleton', part='hand', space='canonical', center='frame', scale='clip'),
]
pack = [dict(type='FormatBodyHand', num_persons=2), dict(type='PackBodyHand')]

train_pipeline = [
    *prepare,
    dict(type='SampleWindow', num_frames=num_frames, window=(0.5, 1.0)),
    dict(type='RandomRotate', theta=0.3),
    *pack,
]
test_pipeline = [*prepare, dict(type='SampleWindow', num_frames=num_frames, window=0.95), *pack]

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='BodyHandDataset', pipeline=train_pipeline),
)
val_dataloader = test_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='BodyHandDataset', pipeline=test_pipeline, test_mode=True),
)
val_evaluator = test_evaluator = dict(type='BodyHandMetric')
