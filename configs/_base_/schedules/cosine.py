# For data sets of a few hundred clips: a linear warm-up, then a cosine to the last epoch.
_base_ = '../default_runtime.py'

max_epochs = 30
warmup = 2  # epochs
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, nesterov=True, weight_decay=4e-4),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='WarmUpLR', warmup=warmup, start_factor=0.1, convert_to_iter_based=True),
    dict(type='WarmedCosineLR', warmup=warmup, eta_min=0, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=32)
