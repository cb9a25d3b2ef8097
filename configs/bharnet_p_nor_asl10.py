# P trained with the Noisy-OR term as well; test it with either fusion (tools/analysis/robustness.py
# does both).
_base_ = 'bharnet_p_asl10.py'

model = dict(cls_head=dict(loss_nor=0.1))
