# What `make quickstart` trains. Without interaction each expert's accuracy is its own. In P and E
# the body's logits depend on the hands through the attention.
_base_ = 'bharnet_p_sample.py'

half = dict(base_channels=16)  # which is enough, and twice as fast
model = dict(_base_.bharnet_b, backbone=dict(body=half, hand=half))
