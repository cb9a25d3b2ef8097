_base_ = 'bharnet_p_pkummd.py'

model = _base_.bharnet_e
