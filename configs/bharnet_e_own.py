_base_ = 'bharnet_p_own.py'

split_at = 2  # of five blocks
fork = dict(_base_.fork, split_at=split_at)
model = dict(_base_.bharnet_e, backbone=dict(body=fork, hand=fork))
