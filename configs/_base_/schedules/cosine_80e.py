_base_ = 'cosine.py'

max_epochs = 80
warmup = 5
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
param_scheduler = [dict(part, warmup=warmup) for part in _base_.param_scheduler]
