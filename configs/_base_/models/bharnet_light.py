# BHaRNet-P at half the width (our reading of the authors' "lightweight configurations").
_base_ = 'bharnet_p.py'

model = dict(
    backbone=dict(body=dict(base_channels=32), hand=dict(base_channels=32)),
    cls_head=dict(in_channels=128),
)
