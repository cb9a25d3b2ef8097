# BHaRNet-P on your own videos; see docs/own_data.md.
_base_ = ['_base_/models/bharnet.py', '_base_/datasets/own.py', '_base_/schedules/cosine.py']

# Some hundred clips: half the width and five blocks (our choice).
small = dict(base_channels=32, num_blocks=5, widen_at=(3, 5), stride_at=(2, 4))
model = dict(
    num_frames=_base_.num_frames,
    backbone=dict(
        body=dict(layout='store:layout', in_channels='store:num_body_channels', **small),
        hand=dict(in_channels='store:num_hand_channels', **small),
    ),
    cls_head=dict(num_classes='store:num_classes'),
)
