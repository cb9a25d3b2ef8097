# Your own videos, after `bharnet extract VIDEOS OUT`:
#   python tools/train.py configs/bharnet_p_own.py --cfg-options data_root=OUT
# Values 'store:...' are read from the clip store when training starts (engine/from_store.py).
_base_ = 'asl10.py'

data_root = 'data/own'
store = data_root
split = 'auto'  # NAME of the splits NAME_train and NAME_test; auto takes the first of the store
num_frames = 'store:num_frames'  # 16, 32 or 64, from the length of the clips

# The pipeline of asl10 with the sizes of the store.
sizes = dict(
    SelectPersons=dict(max_persons='store:num_persons'),
    SelectJoints=dict(layout='store:layout'),
    SampleWindow=dict(num_frames=num_frames),
    FormatBodyHand=dict(num_persons='store:num_persons'),
)
channels = dict(body='store:body_channels', hand='store:hand_channels')
train_pipeline, test_pipeline = (
    [
        dict(step, channels=channels[step['part']])
        if step['type'] == 'SelectChannels'
        else dict(step, **sizes.get(step['type'], {}))
        for step in steps
    ]
    for steps in (_base_.train_pipeline, _base_.test_pipeline)
)

# A few dozen clips are gone through several times an epoch, so 30 epochs are 240 steps or more.
train_dataloader = dict(
    dataset=dict(
        store=store,
        split=f'store:split:{split}_train',
        pipeline=train_pipeline,
        min_clips=256,
    )
)
val_dataloader = test_dataloader = dict(
    dataset=dict(store=store, split=f'store:split:{split}_test', pipeline=test_pipeline)
)
