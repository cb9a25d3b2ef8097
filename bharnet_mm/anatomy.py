"""What the package knows of a human body beyond a layout's graph: its axes, and its proportions.

Joints are found by the names that the shipped layouts use. A layout with other names says in its
``parts`` which joints are meant, such as ``parts=dict(left_shoulder='LShoulder')``.
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
#: Lower and upper end of the spine; the first pair that a layout has counts.
SPINES = (('spine_base', 'spine_mid'), ('hip_center', 'spine'))
#: The layout that files with so many joints most often have; others have to be named.
BY_JOINTS = {
    17: 'coco',
    18: 'openpose_18',
    20: 'kinect_v1',
    25: 'kinect_v2',
    33: 'mediapipe_pose',
}


def joint(layout: SkeletonLayout, name: str) -> int | None:
    """Number of an anatomical joint, such as ``'left_shoulder'``; None if the layout has none.

    A joint of that name counts before a part of that name that has one joint.
    """
    named = (name,) if name in layout.joints else layout.parts.get(name, ())
    return layout.index(named[0]) if len(named) == 1 else None


def joints(layout: SkeletonLayout, *names: str) -> list[int] | None:
    """Numbers of several anatomical joints; None if the layout lacks one."""
    found = [joint(layout, name) for name in names]
    return None if None in found else found


def body_axes(layout: SkeletonLayout) -> list[list[int]] | None:
    """The joints that say how a body stands: ``[left, right, lower, upper]``, each the joints whose
    mean is meant.

    The first two are the shoulders. The last two are the ends of the spine, or the hips and the
    shoulders of a layout without spine. None if a layout has neither.
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
    """Lengths from which the length of a forearm follows: ``(share, joint, joint)``.

    A layout without arms and trunk has its ``scale`` pair, taken for a trunk.
    """
    found = []
    for share, first, second in FOREARM_SHARES:
        for side in ('left', 'right') if '{}' in first else ('',):
            pair = joints(layout, first.format(side), second.format(side))
            if pair is not None:
                found.append((share, *pair))
    return found or [(0.5, *map(layout.index, layout.scale))]


def usual_layout(num_joints: int) -> SkeletonLayout | None:
    """The usual layout of files with this number of joints; None where it is not clear."""
    name = BY_JOINTS.get(num_joints)
    return get_layout(name) if name in LAYOUTS else None
