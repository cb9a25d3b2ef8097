_base_ = [
    '_base_/models/bharnet_e.py',
    '_base_/datasets/pkummd.py',
    '_base_/schedules/degcn_80e.py',
    '_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=51))
