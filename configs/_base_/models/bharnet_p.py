# BHaRNet-P: pooling attention between the experts.
_base_ = 'bharnet_b.py'

model = dict(
    cls_head=dict(
        branches=('interactive',),
        attention=dict(
            body_joints=25,
            num_frames=16,  # a quarter of the input's
            embed_dims=64,  # our choice
            num_heads=4,  # our choice
        ),
    )
)
