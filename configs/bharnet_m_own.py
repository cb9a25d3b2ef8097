# Body, hands and pictures; the regions are cut once:
#   python tools/data/extract_regions.py VIDEOS OUT OUT_regions
_base_ = 'bharnet_p_own.py'

parts = 'store:region_parts'
# Three of the four stages of ResNet-18, as on JHMDB.
stages = dict(num_stages=3, out_indices=(2,), strides=(1, 2, 2), dilations=(1, 1, 1))
model = dict(
    type='BHaRNetM',
    rgb=dict(
        _base_.bharnet_m.rgb, parts=parts, backbone=dict(_base_.bharnet_m.rgb.backbone, **stages)
    ),
)
regions = dict(_base_.regions, parts=parts)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(regions=regions))
