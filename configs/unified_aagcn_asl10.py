# MMAction2's 2s-AGCN with attention (AAGCN) on the unified graph.
_base_ = 'unified_stgcnpp_asl10.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='AAGCN',
        graph_cfg=_base_.graph,
        num_person=1,
        base_channels=32,
        in_channels=2,
        num_stages=5,
        inflate_stages=[3, 5],
        down_stages=[2, 4],
    )
)
