# BHaRNet-P on the embedded synthetic sample.
_base_ = ['_base_/models/bharnet.py', '_base_/datasets/sample.py', '_base_/schedules/cosine.py']

# 320 training clips: half the width and four blocks.
small = dict(base_channels=32, num_blocks=4, widen_at=(2, 3), stride_at=(2, 3))
model = dict(
    num_frames=_base_.num_frames,
    backbone=dict(visibility=_base_.visibility, body=small, hand=dict(in_channels=2, **small)),
    cls_head=dict(num_classes=16),
)
max_epochs = 18
train_cfg = dict(max_epochs=max_epochs, val_interval=6)
auto_scale_lr = dict(base_batch_size=30)
