# Body and rgb on N-UCLA, which has no hands.
_base_ = ['_base_/models/bharnet.py', '_base_/datasets/nucla.py', '_base_/schedules/cosine_80e.py']

model = dict(
    _base_.bharnet_m,
    backbone=dict(body=dict(layout='kinect_v1', base_channels=32), hand=None),
    cls_head=dict(_base_.bharnet_b.cls_head, num_classes=10),
)

# The skeletons that are passed around have no pixel positions: cut the regions at bodies found in
# the videos (docs/data.md).
regions = dict(_base_.regions, max_persons=1)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(regions=regions))
