# The unified graph with the masks that our experts have, as a channel: 1 where a joint is seen.
_base_ = 'unified_degcn_asl10.py'

model = dict(backbone=dict(in_channels=3))

train_pipeline, test_pipeline = (
    [dict(step, visibility=True) if step['type'] == 'FormatKeypoint' else step for step in steps]
    for steps in (_base_.train_pipeline, _base_.test_pipeline)
)

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
