# Common parts of data sets with a few hundred clips: loaders that read in the training process, the
# metric, and steps of their pipelines. Each of them adds store, splits and pipelines.
data_root = 'data'  # all stores lie below it; --cfg-options data_root=... moves them

train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='BodyHandDataset'),
)
val_dataloader = test_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='BodyHandDataset', test_mode=True),
)
val_evaluator = test_evaluator = dict(type='BodyHandMetric')

# Image coordinates without the depth, which is too noisy (our choice). The place of a hand is left
# to the body.
flat_hand, flat_body = flat = [
    dict(type='SelectChannels', part=part, channels=('x', 'y')) for part in ('hand', 'body')
]
fill = dict(type='InterpolateMissing', max_gap=8)
hand_at_wrist = dict(
    type='NormalizeSkeleton', part='hand', space='canonical', center='frame', scale='clip'
)
fill_and_normalize = [
    fill,
    dict(type='NormalizeSkeleton', part='body', center='frame', scale='clip'),
    hand_at_wrist,
]
augment = [
    dict(type='RandomMirror', prob=0.5),
    dict(type='RandomRotate', theta=0.3, plane='image'),
    dict(type='RandomScale', scale=0.2, shear=0.1),
    dict(type='RandomNoise', sigma=dict(body=0.02, hand=0.02)),
]
visibility = False  # True: a channel marks the joints that are visible
pack = [
    dict(type='FormatBodyHand', num_persons=1, visibility=visibility),
    dict(type='PackBodyHand'),
]
