# JHMDB: 21 actions in 928 short clips, three official splits. Bodies and hands by MediaPipe, from
# the videos (docs/data.md).
_base_ = 'small.py'

store = f'{_base_.data_root}/jhmdb'
split = 'jhmdb1'  # or jhmdb2, jhmdb3
num_frames = 32  # clips have 15 to 40

person = dict(type='SelectPersons', max_persons=1)
joints = dict(type='SelectJoints', layout='coco')
prepare = [person, joints, *_base_.flat, *_base_.fill_and_normalize]
window = dict(type='SampleWindow', num_frames=num_frames, window=(0.7, 1.0), min_frames=12)

train_pipeline = [*prepare, window, *_base_.augment, *_base_.pack]
test_pipeline = [
    *prepare,
    dict(type='SampleWindow', num_frames=num_frames, window=1.0),
    *_base_.pack,
]

train_dataloader = dict(dataset=dict(store=store, split=f'{split}_train', pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(
    dataset=dict(store=store, split=f'{split}_test', pipeline=test_pipeline)
)
