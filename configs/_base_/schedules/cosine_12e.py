# For comparisons of many small models.
_base_ = 'short.py'

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=2, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs - 2,
        eta_min=0,
        begin=2,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
