_base_ = 'cosine_80e.py'

max_epochs = 150
train_cfg = dict(max_epochs=max_epochs, val_interval=15)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], T_max=max_epochs - 5, end=max_epochs),
]
