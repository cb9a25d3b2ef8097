# DeGCN's recipe: 80 epochs, 5 of warm-up, cosine until its end is near, then two steps.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=80, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=4e-4)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, begin=0, end=5),
    dict(type='CosineAnnealingLR', T_max=60, eta_min=0, begin=5, end=52),
    dict(type='MultiStepLR', milestones=[60, 75], gamma=0.1, begin=52),
]
auto_scale_lr = dict(enable=False, base_batch_size=64)
