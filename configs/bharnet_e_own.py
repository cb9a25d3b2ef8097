_base_ = 'bharnet_p_own.py'

model = _base_.small_e
