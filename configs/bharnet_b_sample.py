# What `make quickstart` trains. Without interaction each expert's accuracy is its own. In P and E
# the body's logits depend on the hands through the attention.
_base_ = 'bharnet_p_sample.py'

model = _base_.bharnet_b
