# BHaRNet-E: each expert forks into an interactive branch (pooling attention, own loss) and an
# expertized one (average pooling, learns from the fused loss only).
_base_ = 'bharnet_p.py'

split_at = 3  # blocks before the fork, our choice (3..10); 10 shares all and forks the heads only

model = dict(
    backbone=dict(
        body=dict(num_stream=2, split_at=split_at), hand=dict(num_stream=2, split_at=split_at)
    ),
    cls_head=dict(branches=('interactive', 'expertized')),
)
