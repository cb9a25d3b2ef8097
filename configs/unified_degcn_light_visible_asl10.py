# As unified_degcn_visible_asl10.py, at the width of bharnet_light_asl10.py.
_base_ = 'unified_degcn_visible_asl10.py'

model = dict(backbone=dict(base_channels=16), cls_head=dict(in_channels=64))
