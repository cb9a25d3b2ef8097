# For comparisons of many small models.
_base_ = 'cosine.py'

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
