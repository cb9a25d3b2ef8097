# The body expert alone.
_base_ = 'bharnet_b_asl10.py'

model = dict(backbone=dict(hand=None))
