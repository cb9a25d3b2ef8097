# Body, hands and pictures on JHMDB, from scratch.
_base_ = ['_base_/models/bharnet.py', '_base_/datasets/jhmdb.py', '_base_/schedules/cosine_80e.py']

# 660 training clips: half the width and six blocks, three of the four stages of ResNet-18.
small = dict(base_channels=32, in_channels=2, num_blocks=6, widen_at=(3, 5), stride_at=(3, 5))
stages = dict(num_stages=3, out_indices=(2,), strides=(1, 2, 2), dilations=(1, 1, 1))
model = dict(
    type='BHaRNetM',
    backbone=dict(visibility=_base_.visibility, body=dict(layout='coco', **small), hand=small),
    rgb=dict(_base_.bharnet_m.rgb, backbone=dict(_base_.bharnet_m.rgb.backbone, **stages)),
    cls_head=dict(
        _base_.bharnet_b.cls_head,
        num_classes=21,
        # Chosen on held-out training clips (docs/results.md): the body knows most here.
        fusion_weights=dict(body=0.6, hand=0.2, rgb=0.2),
    ),
)

regions = dict(_base_.regions, cell=24, max_persons=1)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(regions=regions))

# 40 epochs were fixed by the time at hand, before a result was seen.
max_epochs = 40
warmup = 3
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [dict(part, warmup=warmup) for part in _base_.param_scheduler]
