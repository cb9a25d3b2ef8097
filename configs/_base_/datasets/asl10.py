# asl10: 10 ASL signs, 3 signers, MediaPipe Holistic; leave one signer out.
#   python tools/data/holistic.py asl10.npz data/asl10
_base_ = 'small.py'

store = f'{_base_.data_root}/asl10'
fold = 'S1'  # the signer to test on: S1, S2 or S3
num_frames = 16  # every second one: clips have 30

prepare = [
    dict(type='SelectPersons', max_persons=1),
    dict(type='SelectJoints', layout='mediapipe_upper_body'),
    *_base_.flat,
    *_base_.fill_and_normalize,
]
part_of_clip = dict(type='SampleWindow', num_frames=num_frames, window=(0.6, 1.0), min_frames=8)
whole_clip = dict(type='SampleWindow', num_frames=num_frames, window=1.0)

train_pipeline = [*prepare, part_of_clip, *_base_.augment, *_base_.pack]
test_pipeline = [*prepare, whole_clip, *_base_.pack]

train_dataloader = dict(dataset=dict(store=store, split=f'{fold}_train', pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(
    dataset=dict(store=store, split=f'{fold}_test', pipeline=test_pipeline)
)
