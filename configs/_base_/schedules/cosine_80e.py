_base_ = 'short.py'

max_epochs = 80
warmup = min(5, max(max_epochs // 2, 1))
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=warmup),
    dict(
        _base_.param_scheduler[1],
        T_max=max(max_epochs - warmup, 1),
        begin=warmup,
        end=max(max_epochs, warmup + 1),
    ),
]
