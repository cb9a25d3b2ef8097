_base_ = ['_base_/models/bharnet.py', '_base_/datasets/ntu120.py', '_base_/schedules/degcn_80e.py']

model = dict(num_frames=_base_.num_frames, cls_head=dict(num_classes=120))
