# Body and pictures on N-UCLA, which has no hands.
_base_ = ['_base_/models/bharnet.py', '_base_/datasets/nucla.py', '_base_/schedules/cosine_80e.py']

model = dict(
    _base_.bharnet_m,
    backbone=dict(body=dict(layout='kinect_v1', base_channels=32), hand=None),
    cls_head=dict(_base_.bharnet_b.cls_head, num_classes=10),
)

# The skeletons that are passed around have no pixel positions: cut the regions at bodies found in
# the videos (docs/data.md). A clip that is not in the store goes without pictures.
regions = dict(store=f'{_base_.store}_regions', max_persons=1, missing='mask')

train_dataloader = dict(dataset=dict(regions=regions))
val_dataloader = dict(dataset=dict(regions=regions))
test_dataloader = val_dataloader
