# MMAction2's ST-GCN++ on the unified graph.
_base_ = 'unified_degcn_asl10.py'

# The bone tree of the layout 'mediapipe_upper_body+hand' as (joint, parent): upper body, then for
# each hand its wrist on the body's and five fingers of four joints.
inward = [(1, 0), (2, 0), (3, 1), (4, 2), (5, 0), (6, 0), (7, 0), (8, 0), (9, 7), (10, 8)]
inward += [(11, 9), (12, 10), (13, 11), (34, 12)]
inward += [(w + 1 + i, w + i if i % 4 else w) for w in (13, 34) for i in range(20)]
graph = dict(layout=dict(num_node=55, inward=inward, center=0), mode='spatial')

model = dict(
    backbone=dict(
        _delete_=True,
        type='STGCN',
        graph_cfg=graph,
        gcn_adaptive='init',
        gcn_with_res=True,
        tcn_type='mstcn',
        base_channels=32,
        in_channels=2,
        num_stages=5,
        inflate_stages=[3, 5],
        down_stages=[2, 4],
    )
)
