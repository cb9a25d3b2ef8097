_base_ = 'bharnet_p_asl10.py'

model = _base_.small_light
