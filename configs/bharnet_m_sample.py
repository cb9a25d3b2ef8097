# What `make quickstart` trains: without interaction each expert's accuracy is its own.
_base_ = 'bharnet_b_sample.py'

model = dict(
    type='BHaRNetM',
    rgb=dict(
        type='BodyGuidedRGB',
        # The stem and one stage are enough for the simple images of the sample.
        backbone=dict(
            type='ResNet',
            depth=18,
            num_stages=1,
            out_indices=(0,),
            strides=(2,),
            dilations=(1,),
        ),
    ),
)

regions = dict(cell=24)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(regions=regions))
