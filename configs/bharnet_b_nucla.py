# The body expert of BHaRNet-B on N-UCLA, which has no hands.
_base_ = ['_base_/models/bharnet.py', '_base_/datasets/nucla.py', '_base_/schedules/cosine_150e.py']

# 1,020 training clips: five blocks (our choice).
model = dict(
    backbone=dict(
        visibility=_base_.visibility,
        body=dict(layout='kinect_v1', num_blocks=5, widen_at=(3, 5), stride_at=(2, 4)),
        hand=None,
    ),
    cls_head=dict(_base_.bharnet_b.cls_head, num_classes=10),
)
train_dataloader = dict(batch_size=16)
auto_scale_lr = dict(base_batch_size=16)
