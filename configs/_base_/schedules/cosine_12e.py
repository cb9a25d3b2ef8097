# For comparisons of many small models.
_base_ = 'short.py'

max_epochs = 12
warmup = min(2, max(max_epochs // 2, 1))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=warmup),
    dict(
        _base_.param_scheduler[1],
        T_max=max(max_epochs - warmup, 1),
        begin=warmup,
        end=max(max_epochs, warmup + 1),
    ),
]
