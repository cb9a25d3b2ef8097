# BHaRNet-P on asl10; for the mean over the three signers see tools/analysis/leave_one_out.py.
_base_ = ['_base_/models/bharnet.py', '_base_/datasets/asl10.py', '_base_/schedules/cosine_12e.py']

# 600 training clips: half the width and five blocks (our choice).
small = dict(base_channels=32, in_channels=2, num_blocks=5, widen_at=(3, 5), stride_at=(2, 4))
model = dict(
    num_frames=_base_.num_frames,
    backbone=dict(body=dict(layout='mediapipe_upper_body', **small), hand=small),
    cls_head=dict(num_classes=10),
)
