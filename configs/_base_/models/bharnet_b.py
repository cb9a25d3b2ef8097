# BHaRNet-B: two experts without interaction, their logits summed.
# "Our choice" marks what the papers leave open or could not be read.
model = dict(
    type='BHaRNet',
    backbone=dict(
        type='BodyHandBackbone',
        feature='joint',  # or 'bone', 'joint_motion', 'bone_motion'
        body=dict(
            type='DeGCN',
            layout='kinect_v2',
            num_stream=1,  # our choice; DeGCN itself trains 2
        ),
        hand=dict(type='DeGCN', layout='hand', num_stream=1),
    ),
    cls_head=dict(
        type='BHaRNetHead',
        num_classes=60,
        in_channels=256,  # 4 x base_channels
        branches=('vanilla',),
        loss_cpl=1.0,  # our choice; 0.5 in a third party's reading
        loss_nor=0.0,  # Noisy-OR; 0.1 in a third party's reading of the journal version
        label_smoothing=0.1,
        fusion='sum',
    ),
)
