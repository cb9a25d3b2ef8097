# P trained with hands that fail: in three clips of ten none is seen (our choice).
_base_ = 'bharnet_p_asl10.py'

train_pipeline = [
    *_base_.train_pipeline[: -len(_base_.pack)],
    dict(type='DropHands', prob=0.3, mode='clip'),
    *_base_.pack,
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
