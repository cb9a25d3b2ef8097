_base_ = 'cosine_80e.py'

max_epochs = 150
train_cfg = dict(max_epochs=max_epochs, val_interval=15)
