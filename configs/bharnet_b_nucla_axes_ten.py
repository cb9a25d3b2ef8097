# As bharnet_b_nucla_axes.py, with the ten blocks of the published networks.
_base_ = 'bharnet_b_nucla_axes.py'

model = dict(backbone=dict(body=dict(num_blocks=10, widen_at=(5, 8), stride_at=(5, 8))))
