_base_ = ['_base_/models/bharnet.py', '_base_/datasets/pkummd.py', '_base_/schedules/degcn_80e.py']

model = dict(_base_.bharnet_m, num_frames=_base_.num_frames, cls_head=dict(num_classes=51))

# python tools/data/extract_regions.py; a clip that is not in it goes without pictures.
regions = dict(store=f'{_base_.store}_regions', missing='mask')

train_dataloader = dict(dataset=dict(regions=regions))
val_dataloader = dict(dataset=dict(regions=regions))
test_dataloader = val_dataloader
