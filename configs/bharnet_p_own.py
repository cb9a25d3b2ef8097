# BHaRNet-P on your own videos; see docs/own_data.md.
_base_ = ['_base_/models/bharnet.py', '_base_/datasets/own.py', '_base_/schedules/cosine.py']

model = dict(
    num_frames=_base_.num_frames,
    backbone=dict(
        visibility=_base_.visibility,
        body=dict(_base_.small, layout='store:layout', in_channels='store:num_body_channels'),
        hand=dict(_base_.small, in_channels='store:num_hand_channels'),
    ),
    cls_head=dict(num_classes='store:num_classes'),
)
