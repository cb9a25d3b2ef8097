_base_ = 'bharnet_p_own.py'

model = _base_.bharnet_b
