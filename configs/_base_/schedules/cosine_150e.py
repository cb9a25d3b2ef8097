_base_ = 'cosine_80e.py'

max_epochs = 150
warmup = min(5, max(max_epochs // 2, 1))
train_cfg = dict(max_epochs=max_epochs, val_interval=15)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=warmup),
    dict(
        _base_.param_scheduler[1],
        T_max=max(max_epochs - warmup, 1),
        begin=warmup,
        end=max(max_epochs, warmup + 1),
    ),
]
