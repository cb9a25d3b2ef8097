# DeGCN (two streams, as its authors train it) in MMAction2's stock recognizer, head and packing, on
# NTU bodies. Data set and transforms are ours; anything of MMAction2 may take the place of the
# rest.
_base_ = ['_base_/datasets/ntu60.py', '_base_/schedules/degcn_80e.py']

model = dict(
    type='RecognizerGCN',
    backbone=dict(type='DeGCN', layout='kinect_v2', num_stream=2),
    cls_head=dict(type='GCNHead', num_classes=60, in_channels=512, label_smooth_eps=0.1),
)

pack = [
    dict(type='FormatKeypoint', part='body', num_persons=2),
    dict(type='PackActionInputs', meta_keys=('clip_id',)),  # BodyHandMetric wants the clip's name
]
# All but our own packing.
train_pipeline = [*_base_.train_pipeline[: -len(_base_.pack)], *pack]
test_pipeline = [*_base_.test_pipeline[: -len(_base_.pack)], *pack]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
