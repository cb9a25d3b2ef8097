# Our regions and their network in MMAction2's Recognizer2D and TSNHead, on NTU: rgb alone, without
# guidance. Any 2-D backbone of MMAction2 may take BodyGuidedRGB's place.
_base_ = ['_base_/datasets/ntu60.py', '_base_/schedules/degcn_80e.py']

model = dict(
    type='Recognizer2D',
    backbone=dict(type='BodyGuidedRGB', backbone=dict(type='ResNet', depth=18)),
    cls_head=dict(type='TSNHead', num_classes=60, in_channels=512, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
    ),
)

pack = [
    dict(type='FormatGrid'),
    dict(type='PackActionInputs', meta_keys=('clip_id',)),  # BodyHandMetric wants the clip's name
]

data = dict(regions=dict(missing='mask'), pipeline=pack)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=data)
