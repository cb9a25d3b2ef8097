# The hand expert alone.
_base_ = 'bharnet_b_own.py'

model = dict(backbone=dict(body=None))
