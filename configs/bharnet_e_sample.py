_base_ = 'bharnet_p_sample.py'

model = _base_.small_e
