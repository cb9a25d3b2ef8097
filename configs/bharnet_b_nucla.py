# The body expert of BHaRNet-B on N-UCLA, which has no hands.
_base_ = [
    '_base_/models/bharnet_b.py',
    '_base_/datasets/nucla.py',
    '_base_/schedules/cosine_80e.py',
    '_base_/default_runtime.py',
]

# 1,020 training clips: half the width (our choice).
model = dict(
    backbone=dict(body=dict(layout='kinect_v1', base_channels=32), hand=None),
    cls_head=dict(num_classes=10, in_channels=128, modalities=('body',)),
)
