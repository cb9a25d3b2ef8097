# BHaRNet-P on the embedded synthetic sample.
_base_ = ['_base_/models/bharnet.py', '_base_/datasets/sample.py', '_base_/schedules/cosine.py']

# 300 training clips: a quarter of the width and six blocks.
small = dict(base_channels=16, num_blocks=6, widen_at=(3, 5), stride_at=(3, 5))
model = dict(
    num_frames=_base_.num_frames,
    backbone=dict(visibility=_base_.visibility, body=small, hand=dict(in_channels=2, **small)),
    cls_head=dict(num_classes=16),
)
train_cfg = dict(val_interval=5)
auto_scale_lr = dict(base_batch_size=30)
