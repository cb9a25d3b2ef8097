"""Axes and proportions of a human body, found by the joint names of a layout.

Joints are found by the names that the shipped layouts use. A layout with other names maps them in
its ``parts``, such as ``parts=dict(left_shoulder='LShoulder')``.
"""

from __future__ import annotations

from .layouts import LAYOUTS, SkeletonLayout, get_layout

#: Share of a forearm (26 cm) in other lengths of an adult, from one joint to another.
FOREARM_SHARES = (
    (1.0, '{}_elbow', '{}_wrist'),
    (0.85, '{}_shoulder', '{}_elbow'),
    (0.5, '{}_shoulder', '{}_hip'),
    (0.7, 'left_shoulder', 'right_shoulder'),
)
#: Lower and upper end of the spine. The first pair that a layout has is used.
SPINES = (('spine_base', 'spine_mid'), ('hip_center', 'spine'))
#: Number of joints to the layout that such files usually have. Other layouts have to be named.
BY_JOINTS = {
    17: 'coco',
    18: 'openpose_18',
    20: 'kinect_v1',
    25: 'kinect_v2',
    33: 'mediapipe_pose',
}


def joint(layout: SkeletonLayout, name: str) -> int | None:
    """Number of an anatomical joint, such as ``'left_shoulder'``; None if the layout has none.

    A joint of this name is used if there is one, otherwise a part of this name with one joint.
    """
    named = (name,) if name in layout.joints else layout.parts.get(name, ())
    return layout.index(named[0]) if len(named) == 1 else None


def joints(layout: SkeletonLayout, *names: str) -> list[int] | None:
    """Numbers of several anatomical joints; None if the layout lacks one."""
    found = [joint(layout, name) for name in names]
    return None if None in found else found


def body_axes(layout: SkeletonLayout) -> list[list[int]] | None:
    """The joints that give the axes of a body: ``[left, right, lower, upper]``. Each is a list of
    joints whose mean is used.

    The first two are the shoulders. The last two are the ends of the spine, or hips and shoulders
    if the layout has no spine. None if it has neither.
    """
    shoulders = joints(layout, 'left_shoulder', 'right_shoulder')
    if shoulders is None:
        return None
    sides = [[number] for number in shoulders]
    for ends in SPINES:
        spine = joints(layout, *ends)
        if spine is not None:
            return [*sides, *([number] for number in spine)]
    hips = joints(layout, 'left_hip', 'right_hip')
    return None if hips is None else [*sides, hips, shoulders]


def forearms(layout: SkeletonLayout) -> list[tuple[float, int, int]]:
    """Pairs of joints from which the length of a forearm is estimated: ``(share, joint, joint)``,
    where the forearm is ``share`` times their distance.

    If the layout has no arms and trunk, its ``scale`` pair is used as a trunk.
    """
    found = []
    for share, first, second in FOREARM_SHARES:
        for side in ('left', 'right') if '{}' in first else ('',):
            pair = joints(layout, first.format(side), second.format(side))
            if pair is not None:
                found.append((share, *pair))
    return found or [(0.5, *map(layout.index, layout.scale))]


def usual_layout(num_joints: int) -> SkeletonLayout | None:
    """The usual layout of files with this number of joints; None if it is not clear."""
    name = BY_JOINTS.get(num_joints)
    return get_layout(name) if name in LAYOUTS else None
