# Loaders and metric of the data sets of a few hundred clips, read in the training process; each of
# them adds store, splits and pipelines.
data_root = 'data'  # all stores lie below it; --cfg-options data_root=... moves them
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='BodyHandDataset'),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='BodyHandDataset', test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='BodyHandMetric')
test_evaluator = val_evaluator
