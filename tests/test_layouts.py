import copy
import json
import pickle

import numpy as np
import pytest

from bharnet_mm.errors import LayoutError
from bharnet_mm.layouts import ALIASES, LAYOUTS, SkeletonLayout, get_layout, unified_layout

NUM_JOINTS = {
    'kinect_v2': 25,
    'kinect_v1': 20,
    'mediapipe_pose': 33,
    'mediapipe_upper_body': 13,
    'hand': 21,
    'coco': 17,
    'coco_wholebody': 133,
    'openpose_18': 18,
    'openpose_25': 25,
}
UNIFIED = [('kinect_v2', 'hand'), ('mediapipe_upper_body', 'hand'), ('coco', 'hand')]
ALL = [*LAYOUTS.values(), *(unified_layout(*pair) for pair in UNIFIED)]


def custom(**change):
    definition = {
        'name': 'cross',
        'joints': ['top', 'left', 'right', 'foot'],
        'edges': [['top', 'left'], ['top', 'right'], ['top', 'foot']],
        'parents': {'left': 'top', 'right': 'top', 'foot': 'top'},
        'center': ['top'],
        'scale': ['left', 'right'],
        'swaps': [['left', 'right']],
    }
    definition.update(change)
    return definition


def test_shipped_layouts():
    assert {name: layout.num_joints for name, layout in LAYOUTS.items()} == NUM_JOINTS
    assert get_layout('nturgb+d') is LAYOUTS['kinect_v2']
    assert set(ALIASES.values()) <= set(LAYOUTS)


@pytest.mark.parametrize('layout', ALL, ids=lambda layout: layout.name)
def test_derived(layout):
    v = layout.num_joints
    swap, parent = layout.swap_index, layout.parent_index
    assert np.array_equal(swap[swap], np.arange(v))
    root = layout.index(layout.root)
    assert np.flatnonzero(parent == np.arange(v)).tolist() == [root]
    top = np.arange(v)
    for _ in range(v):
        top = parent[top]
    assert (top == root).all()
    # left and right exchange their sides, and the graph and the tree are the same in a mirror
    edges = {frozenset(edge) for edge in layout.edge_index.tolist()}
    if layout.swaps:
        assert {frozenset(edge) for edge in swap[layout.edge_index].tolist()} == edges
        assert np.array_equal(swap[parent], parent[swap])
    for i, joint in enumerate(layout.joints):
        assert layout.index(joint) == i
        side = {'left': 'right', 'right': 'left', 'middle': 'middle'}[layout.side(joint)]
        assert layout.side(layout.joints[swap[i]]) == side
        for word in ('left', 'right'):
            assert (word in joint.split('.')[0].split('_')) == (layout.side(joint) == word) or (
                joint.startswith('face.')
            )
    assert layout.scale_index.shape == (2,) and len(layout.center_index) >= 1
    for part in layout.parts:
        assert layout.part_index(part).size
    with pytest.raises(ValueError):
        layout.swap_index[0] = 1


def brute_force_adjacency(layout):
    """ST-GCN's spatial partition, from shortest paths by repeated squaring of nothing but lists."""
    v, edges = layout.num_joints, layout.edge_index.tolist()
    far = [10**6] * v
    far[layout.index(layout.root)] = 0
    for _ in range(v):
        for i, j in edges:
            far[i], far[j] = min(far[i], far[j] + 1), min(far[j], far[i] + 1)
    matrix = np.zeros((3, v, v))
    for i in range(v):
        for j in range(v):
            if i == j:
                matrix[0, i, j] = 1
            elif [i, j] in edges or [j, i] in edges:
                subset = 0 if far[i] == far[j] else 1 if far[i] < far[j] else 2
                matrix[subset, i, j] = 1
    for subset in matrix:
        for j in range(v):
            if subset[:, j].sum():
                subset[:, j] /= subset[:, j].sum()
    return matrix


@pytest.mark.parametrize('layout', ALL, ids=lambda layout: layout.name)
def test_adjacency_is_the_spatial_partition(layout):
    adjacency = layout.adjacency()
    assert adjacency.dtype == np.float32
    np.testing.assert_allclose(adjacency, brute_force_adjacency(layout), rtol=1e-6)
    assert not adjacency.flags.writeable


@pytest.mark.parametrize('name', ['nturgb+d', 'coco'])
def test_adjacency_is_mmaction2s(name):
    """Where both have the edges: MMAction2's coco leaves each hip on its shoulder, as ours does."""
    from mmaction.models.utils import Graph

    theirs = Graph(layout=name, mode='spatial').A
    np.testing.assert_allclose(get_layout(name).adjacency(), theirs, rtol=1e-6)


def test_hand_graph_and_tree():
    """The figure's edges; bones run from the wrist, as a tree cannot hold the palm's arcs."""
    chains = [[0, 1, 2, 3, 4], [0, 5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
    chains += [[0, 17, 18, 19, 20], [5, 9, 13, 17]]
    expected = {frozenset(pair) for chain in chains for pair in zip(chain, chain[1:], strict=False)}
    hand = get_layout('hand')
    assert {frozenset(edge) for edge in hand.edge_index.tolist()} == expected
    parents = [0, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19]
    assert hand.parent_index.tolist() == parents


def test_joint_order_of_the_sources():
    kinect = get_layout('kinect_v2')
    named = {
        20: 'spine_shoulder',
        3: 'head',
        7: 'left_hand',
        21: 'left_hand_tip',
        24: 'right_thumb',
    }
    assert {i: kinect.joints[i] for i in named} == named
    assert kinect.root == 'spine_shoulder'
    pose = get_layout('mediapipe_pose')
    named = {0: 'nose', 10: 'mouth_right', 15: 'left_wrist', 22: 'right_thumb', 23: 'left_hip'}
    assert {i: pose.joints[i] for i in named} == named


def test_select_by_name():
    pose = get_layout('mediapipe_pose')
    assert pose.select('mediapipe_upper_body').tolist() == [0, 2, 5, 7, 8, *range(9, 17)]
    assert pose.select('coco').tolist() == [0, 2, 5, 7, 8, *range(11, 17), *range(23, 29)]
    whole = get_layout('coco_wholebody')
    assert whole.select('coco').tolist() == list(range(17))
    assert whole.select('hand', 'left_hand.').tolist() == list(range(91, 112))
    assert whole.select('hand', 'right_hand.').tolist() == list(range(112, 133))
    with pytest.raises(LayoutError, match="no joints .*'nose'"):
        get_layout('kinect_v2').select('coco')


def test_unified_layout_joins_at_the_wrists():
    body, hand = get_layout('kinect_v2'), get_layout('hand')
    both = unified_layout(body, hand)
    assert get_layout(f'{body.name}+{hand.name}') == both
    assert both.joints[:25] == body.joints and both.joints[25] == 'left_hand.wrist'
    edges = {frozenset(edge) for edge in both.edge_index.tolist()}
    assert {frozenset((6, 25)), frozenset((10, 46))} <= edges
    assert len(edges) == 24 + 2 * 21 + 2
    assert both.swap_index[25] == 46 and both.parent_index[46] == 10
    with pytest.raises(LayoutError, match="no joint 'left_wrist'"):
        unified_layout('hand', 'hand')


def test_user_defined_layout_and_its_copies():
    layout = get_layout(custom())
    assert layout.swap_index.tolist() == [0, 2, 1, 3]
    assert get_layout(layout) is layout and copy.deepcopy(layout) == layout
    assert get_layout(json.loads(json.dumps(layout.to_dict()))) == layout
    layout.adjacency()
    again = pickle.loads(pickle.dumps(layout))
    assert again == layout and hash(again) == hash(layout)
    assert not again.adjacency().flags.writeable
    assert repr(layout) == "SkeletonLayout('cross', 4 joints, 3 edges)"


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'joints': []}, 'no joints'),
        ({'joints': 'a' * 100_000}, '100000 joints; expected at most 2000'),
        ({'joints': [f'j{i}' for i in range(2001)]}, '2001 joints'),
        ({'joints': ['top', 'left', 'right', 'foot', 'foot']}, 'more than once'),
        ({'edges': [['top', 'elbow']]}, r"unknown joint names \['elbow'\] in edges"),
        ({'center': ['hip']}, 'unknown joint names .* in center'),
        ({'parts': {'head': ['hat']}}, 'unknown joint names .* in parts'),
        ({'parts': {'head': []}}, 'an empty entry in parts'),
        ({'edges': [['top', 'top']]}, 'not two different joints'),
        ({'edges': [['top', 'left'], ['left', 'top']]}, 'same edge more than once'),
        ({'edges': [['top', 'left'], ['top', 'right']]}, r"\['foot'\] not connected"),
        ({'swaps': [['left', 'right'], ['right', 'foot']]}, 'more than one swap'),
        ({'parents': {'left': 'top', 'right': 'top'}}, 'without a parent'),
        ({'parents': {'left': 'right', 'right': 'left', 'foot': 'top'}}, 'a cycle'),
        ({'scale': ['left', 'left']}, 'entry of scale'),
    ],
)
def test_inconsistent_layouts(change, message):
    with pytest.raises(LayoutError, match=message) as error:
        get_layout(custom(**change))
    assert "layout 'cross'" in str(error.value) and 'Fix:' in str(error.value)


def test_unknown_layouts_and_names():
    with pytest.raises(LayoutError, match='kinect_v2'):
        get_layout('kinect')
    with pytest.raises(LayoutError, match='the fields'):
        get_layout({'name': 'cross'})
    with pytest.raises(LayoutError, match='the fields'):
        get_layout(custom(bones=[]))
    with pytest.raises(LayoutError, match="joint name 'tail'"):
        get_layout('coco').index('tail')
    with pytest.raises(LayoutError, match="part 'tail'"):
        get_layout('coco').part_index('tail')
    assert isinstance(get_layout('coco'), SkeletonLayout)
