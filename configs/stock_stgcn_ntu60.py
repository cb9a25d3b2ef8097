# A network of MMAction2, ST-GCN, on our data set and transforms.
_base_ = 'stock_degcn_ntu60.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='STGCN',
        graph_cfg=dict(layout='nturgb+d', mode='stgcn_spatial'),  # our kinect_v2's joint order
    ),
    cls_head=dict(in_channels=256),
)
