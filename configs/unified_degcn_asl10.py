# One unified graph instead of two experts: DeGCN on body and both hands joined at the wrists, 55
# joints. It gets what our experts get, joined: each hand about its own wrist in units of its palm,
# where the hands are as the body's wrists. Same clips, augmentation, schedule, width and depth as
# bharnet_p_asl10.py. What is missing is 0.
_base_ = ['_base_/datasets/asl10.py', '_base_/schedules/cosine_12e.py']

model = dict(
    type='RecognizerGCN',
    backbone=dict(
        type='DeGCN',
        layout='mediapipe_upper_body+hand',
        base_channels=32,
        in_channels=2,
        num_blocks=5,
        widen_at=(3, 5),
        stride_at=(2, 4),
    ),
    cls_head=dict(type='GCNHead', num_classes=10, in_channels=128, label_smooth_eps=0.1),
)

pack = [
    dict(type='MakeFeature', feature='joint'),
    dict(type='FormatKeypoint', part='unified', num_persons=1),
    dict(type='PackActionInputs', meta_keys=('clip_id',)),
]
# All but our own packing.
train_pipeline = [*_base_.train_pipeline[: -len(_base_.pack)], *pack]
test_pipeline = [*_base_.test_pipeline[: -len(_base_.pack)], *pack]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
