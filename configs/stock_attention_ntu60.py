# Our pooling attention alone, in MMAction2's own ST-GCN, recognizer and head: one graph of body and
# hands, NTU.
_base_ = 'stock_degcn_ntu60.py'

# Joint and parent: the 25 joints of the body, and 21 of each hand that hangs on its wrist.
inward = [
    (0, 1),
    (1, 20),
    (2, 20),
    (3, 2),
    (4, 20),
    (5, 4),
    (6, 5),
    (7, 6),
    (8, 20),
    (9, 8),
    (10, 9),
]
inward += [(11, 10), (12, 0), (13, 12), (14, 13), (15, 14), (16, 0), (17, 16), (18, 17), (19, 18)]
inward += [(21, 7), (22, 7), (23, 11), (24, 11), (25, 6), (46, 10)]
inward += [(w + 1 + i, w + i if i % 4 else w) for w in (25, 46) for i in range(20)]
graph = dict(layout=dict(num_node=67, inward=inward, center=20), mode='stgcn_spatial')

model = dict(
    backbone=dict(
        _delete_=True,
        type='AttendedBackbone',
        backbone=dict(type='STGCN', graph_cfg=graph),
        channels=256,
        body_joints=25,
    ),
    cls_head=dict(in_channels=512),
)

unified = [dict(type='FormatKeypoint', part='unified', num_persons=2), _base_.pack[1]]
train_pipeline = [*_base_.train_pipeline[:-2], *unified]
test_pipeline = [*_base_.test_pipeline[:-2], *unified]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
