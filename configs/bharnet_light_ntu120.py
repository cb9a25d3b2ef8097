_base_ = 'bharnet_p_ntu120.py'

model = _base_.bharnet_light
