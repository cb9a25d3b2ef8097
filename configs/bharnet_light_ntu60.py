_base_ = 'bharnet_p_ntu60.py'

model = _base_.bharnet_light
