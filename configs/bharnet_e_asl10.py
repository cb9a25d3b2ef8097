_base_ = 'bharnet_p_asl10.py'

fork = dict(num_stream=2, split_at=2)  # of five blocks
model = dict(
    backbone=dict(body=fork, hand=fork), cls_head=dict(branches=('interactive', 'expertized'))
)
