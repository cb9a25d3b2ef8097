# BHaRNet-P on asl10; for the mean over the three signers see tools/analysis/leave_one_out.py.
_base_ = ['_base_/models/bharnet.py', '_base_/datasets/asl10.py', '_base_/schedules/cosine_12e.py']

small = dict(_base_.small, in_channels=2)
model = dict(
    num_frames=_base_.num_frames,
    backbone=dict(
        visibility=_base_.visibility,
        body=dict(small, layout='mediapipe_upper_body'),
        hand=small,
    ),
    cls_head=dict(num_classes=10),
)
