_base_ = 'short.py'

max_epochs = 80
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=5),
    dict(_base_.param_scheduler[1], T_max=max_epochs - 5, begin=5, end=max_epochs),
]
