import numpy as np
import pytest

from bharnet_mm import anatomy
from bharnet_mm.datasets.regions import forearm_length
from bharnet_mm.layouts import LAYOUTS, SkeletonLayout, get_layout


def renamed(layout):
    """The layout with joints that are numbers, and parts that say what they are."""
    number = {name: f'j{i}' for i, name in enumerate(layout.joints)}
    fields = layout.to_dict()
    pairs = [tuple(number[joint] for joint in edge) for edge in layout.edges]
    parents = {number[child]: number[parent] for child, parent in layout.parents.items()}
    swaps = [tuple(number[joint] for joint in pair) for pair in layout.swaps]
    names = dict(name='mine', joints=tuple(number.values()), edges=pairs, parents=parents)
    names |= dict(center=[number[j] for j in layout.center], swaps=swaps)
    parts = {name: (number[name],) for name in layout.joints}
    scale = tuple(number[joint] for joint in layout.scale)
    return SkeletonLayout(**(fields | names | dict(parts=parts, scale=scale)))


@pytest.mark.parametrize('name', ['kinect_v2', 'kinect_v1', 'coco', 'mediapipe_pose'])
def test_a_layout_with_other_names_says_which_joints_are_meant(name):
    layout = get_layout(name)
    assert anatomy.body_axes(renamed(layout)) == anatomy.body_axes(layout) is not None
    assert anatomy.forearms(renamed(layout)) == anatomy.forearms(layout)


def test_the_spine_counts_before_hips_and_shoulders():
    layout = get_layout('kinect_v2')
    names = [[layout.joints[i] for i in numbers] for numbers in anatomy.body_axes(layout)]
    assert names == [['left_shoulder'], ['right_shoulder'], ['spine_base'], ['spine_mid']]
    coco = get_layout('coco')
    lower, upper = anatomy.body_axes(coco)[2:]
    assert [coco.joints[i] for i in lower] == ['left_hip', 'right_hip']
    assert [coco.joints[i] for i in upper] == ['left_shoulder', 'right_shoulder']
    assert anatomy.body_axes(get_layout('hand')) is None


def test_shoulders_count_once_in_a_forearms_length():
    layout = get_layout('coco')
    pairs = anatomy.forearms(layout)
    assert len(pairs) == len(set(pairs)) == 7
    points = np.zeros((17, 2))
    points[layout.index('right_shoulder')] = 10
    known = np.ones(17, dtype=bool)
    assert forearm_length(points, known, layout) == pytest.approx(0.85 * np.hypot(10, 10))


def test_usual_layouts_have_so_many_joints():
    for count in anatomy.BY_JOINTS:
        assert anatomy.usual_layout(count).num_joints == count
    assert anatomy.usual_layout(7) is None and set(anatomy.BY_JOINTS.values()) <= set(LAYOUTS)
