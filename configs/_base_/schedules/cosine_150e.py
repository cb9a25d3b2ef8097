_base_ = 'short.py'

max_epochs = 150
train_cfg = dict(max_epochs=max_epochs, val_interval=15)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs - 5,
        eta_min=0,
        begin=5,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
