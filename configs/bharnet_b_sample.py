# What `make quickstart` trains. Without interaction each expert shows what it can see by itself; in
# P and E the body's logits know of the hands through the attention.
_base_ = 'bharnet_p_sample.py'

model = _base_.bharnet_b
