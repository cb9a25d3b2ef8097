_base_ = 'bharnet_p_sample.py'

small = dict(num_blocks=4, widen_at=(2, 3), stride_at=(2, 3))
model = dict(backbone=dict(body=small, hand=small))
