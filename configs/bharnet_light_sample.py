_base_ = 'bharnet_p_sample.py'

half = dict(base_channels=16)
model = dict(backbone=dict(body=half, hand=half))
