# The unified graph at the width of bharnet_light_asl10.py, so that capacity is not what differs.
_base_ = 'unified_degcn_asl10.py'

model = dict(backbone=dict(base_channels=16), cls_head=dict(in_channels=64))
