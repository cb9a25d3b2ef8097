_base_ = ['_base_/models/bharnet.py', '_base_/datasets/ntu60.py', '_base_/schedules/degcn_80e.py']

model = dict(_base_.bharnet_m, num_frames=_base_.num_frames, cls_head=dict(num_classes=60))
train_dataloader = val_dataloader = test_dataloader = _base_.with_regions
