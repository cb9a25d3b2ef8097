"""The skeletons that come with the package, as arguments of ``SkeletonLayout``. ``layouts`` builds
them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

#: Parts whose surroundings are cut out of the images by default.
REGION_PARTS = ('head', 'left_wrist', 'right_wrist', 'left_ankle', 'right_ankle')
#: Regions that every layout has: the square of the whole body, and the whole image.
REGION_WHOLES = ('person', 'scene')


def _pairs(names: str) -> tuple[tuple[str, str], ...]:
    """Left/right pairs from words. ``*`` stands for the side; without it the side comes first."""
    words = [word if '*' in word else f'*_{word}' for word in names.split()]
    return tuple((word.replace('*', 'left'), word.replace('*', 'right')) for word in words)


def _both(chains: str) -> dict[str, str]:
    """Parents from ``child>parent`` words, in which ``*`` stands for left and right."""
    parents = {}
    for word in chains.split():
        for side in ('left', 'right') if '*' in word else ('',):
            child, parent = word.replace('*', side).split('>')
            parents[child] = parent
    return parents


def _parts(limb_end: str, head: str, ankles: bool = True) -> dict[str, tuple[str, ...]]:
    parts = {
        'head': (head,),
        'left_wrist': (f'left_{limb_end}',),
        'right_wrist': (f'right_{limb_end}',),
    }
    if ankles:
        parts |= {'left_ankle': ('left_ankle',), 'right_ankle': ('right_ankle',)}
    return parts


_LIMBS = '*_elbow>*_shoulder *_wrist>*_elbow *_knee>*_hip *_ankle>*_knee '
_KINECT_LIMBS = _LIMBS + '*_hand>*_wrist *_foot>*_ankle '


def _kinect_v2() -> dict[str, Any]:
    joints = (
        'spine_base spine_mid neck head left_shoulder left_elbow left_wrist left_hand '
        'right_shoulder right_elbow right_wrist right_hand left_hip left_knee left_ankle '
        'left_foot right_hip right_knee right_ankle right_foot spine_shoulder left_hand_tip '
        'left_thumb right_hand_tip right_thumb'
    ).split()
    parents = _both(
        'spine_base>spine_mid spine_mid>spine_shoulder neck>spine_shoulder head>neck '
        '*_shoulder>spine_shoulder *_hip>spine_base *_hand_tip>*_hand *_thumb>*_hand '
        + _KINECT_LIMBS
    )
    return dict(
        name='kinect_v2',
        joints=joints,
        edges=tuple(parents.items()),
        parents=parents,
        center=('spine_mid',),
        scale=('spine_base', 'spine_shoulder'),
        swaps=_pairs('shoulder elbow wrist hand hip knee ankle foot hand_tip thumb'),
        parts=_parts('hand', 'head'),
    )


def _kinect_v1() -> dict[str, Any]:
    joints = (
        'hip_center spine shoulder_center head left_shoulder left_elbow left_wrist left_hand '
        'right_shoulder right_elbow right_wrist right_hand left_hip left_knee left_ankle '
        'left_foot right_hip right_knee right_ankle right_foot'
    ).split()
    parents = _both(
        'hip_center>spine spine>shoulder_center head>shoulder_center *_shoulder>shoulder_center '
        '*_hip>hip_center ' + _KINECT_LIMBS
    )
    return dict(
        name='kinect_v1',
        joints=joints,
        edges=tuple(parents.items()),
        parents=parents,
        center=('spine',),
        scale=('hip_center', 'shoulder_center'),
        swaps=_pairs('shoulder elbow wrist hand hip knee ankle foot'),
        parts=_parts('hand', 'head'),
    )


def _mediapipe_pose() -> dict[str, Any]:
    joints = (
        'nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer '
        'left_ear right_ear mouth_left mouth_right left_shoulder right_shoulder left_elbow '
        'right_elbow left_wrist right_wrist left_pinky right_pinky left_index right_index '
        'left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle right_ankle '
        'left_heel right_heel left_foot_index right_foot_index'
    ).split()
    parents = _both(
        '*_eye_inner>nose *_eye>*_eye_inner *_eye_outer>*_eye *_ear>*_eye_outer mouth_*>nose '
        '*_shoulder>nose *_hip>*_shoulder *_pinky>*_wrist *_index>*_wrist *_thumb>*_wrist '
        '*_heel>*_ankle *_foot_index>*_heel ' + _LIMBS
    )
    across = _pairs('mouth_* shoulder hip')
    closed = tuple(_both('*_pinky>*_index *_ankle>*_foot_index').items())
    return dict(
        name='mediapipe_pose',
        joints=joints,
        edges=tuple(parents.items()) + across + closed,
        parents=parents,
        center=('left_shoulder', 'right_shoulder'),
        scale=('left_shoulder', 'right_shoulder'),
        swaps=_pairs(
            'eye_inner eye eye_outer ear mouth_* shoulder elbow wrist pinky index thumb hip knee '
            'ankle heel foot_index'
        ),
        parts=_parts('wrist', 'nose'),
    )


def _mediapipe_upper_body() -> dict[str, Any]:
    """Face, shoulders and arms. The three finger stubs a side would only repeat the hand."""
    joints = (
        'nose left_eye right_eye left_ear right_ear mouth_left mouth_right left_shoulder '
        'right_shoulder left_elbow right_elbow left_wrist right_wrist'
    ).split()
    parents = _both(
        '*_eye>nose *_ear>*_eye mouth_*>nose *_shoulder>nose *_elbow>*_shoulder *_wrist>*_elbow'
    )
    return dict(
        name='mediapipe_upper_body',
        joints=joints,
        edges=tuple(parents.items()) + _pairs('mouth_* shoulder'),
        parents=parents,
        center=('left_shoulder', 'right_shoulder'),
        scale=('left_shoulder', 'right_shoulder'),
        swaps=_pairs('eye ear mouth_* shoulder elbow wrist'),
        parts=_parts('wrist', 'nose', ankles=False),
    )


def _hand() -> dict[str, Any]:
    """One hand in MediaPipe's order: finger chains from the wrist, and a closed loop around the
    palm.
    """
    fingers = {'thumb': 'cmc mcp ip tip'.split()}
    fingers |= {
        finger: 'mcp pip dip tip'.split() for finger in ('index', 'middle', 'ring', 'pinky')
    }
    chains = [[f'{finger}_{bone}' for bone in bones] for finger, bones in fingers.items()]
    parents = {chain[0]: 'wrist' for chain in chains}
    parents |= {child: parent for chain in chains for parent, child in pairwise(chain)}
    palm = ('wrist', 'index_mcp', 'middle_mcp', 'ring_mcp', 'pinky_mcp', 'wrist')
    edges = [('wrist', 'thumb_cmc'), *pairwise(palm)]
    edges += [(parent, child) for chain in chains for parent, child in pairwise(chain)]
    return dict(
        name='hand',
        joints=('wrist', *(joint for chain in chains for joint in chain)),
        edges=tuple(edges),
        parents=parents,
        center=('wrist',),
        scale=('wrist', 'middle_mcp'),
        parts={'wrist': ('wrist',)},
    )


_COCO_JOINTS = (
    'nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow '
    'right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle '
    'right_ankle'
).split()
_COCO_PARENTS = _both('*_eye>nose *_ear>*_eye *_shoulder>nose *_hip>*_shoulder ' + _LIMBS)
_COCO_SWAPS = _pairs('eye ear shoulder elbow wrist hip knee ankle')


def _coco() -> dict[str, Any]:
    return dict(
        name='coco',
        joints=_COCO_JOINTS,
        edges=tuple(_COCO_PARENTS.items()),
        parents=_COCO_PARENTS,
        center=('left_shoulder', 'right_shoulder'),
        scale=('left_shoulder', 'right_shoulder'),
        swaps=_COCO_SWAPS,
        parts=_parts('wrist', 'nose'),
    )


def _openpose(joints: str, root: str, more: str, swaps: str) -> dict[str, Any]:
    """OpenPose's order: nose, neck, right limbs, left limbs; the neck is the root."""
    names = joints.split()
    parents = _both(
        f'nose>neck *_eye>nose *_ear>*_eye *_shoulder>neck *_hip>{root} ' + more + _LIMBS
    )
    return dict(
        name=f'openpose_{len(names)}',
        joints=names,
        edges=tuple(parents.items()),
        parents=parents,
        center=('neck',),
        scale=('left_shoulder', 'right_shoulder'),
        swaps=_pairs(swaps),
        parts=_parts('wrist', 'nose'),
    )


_OPENPOSE_18 = _openpose(
    'nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist '
    'right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear '
    'left_ear',
    'neck',
    '',
    'eye ear shoulder elbow wrist hip knee ankle',
)
_OPENPOSE_25 = _openpose(
    'nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip '
    'right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear '
    'left_ear left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel',
    'mid_hip',
    'mid_hip>neck *_heel>*_ankle *_big_toe>*_ankle *_small_toe>*_big_toe ',
    'eye ear shoulder elbow wrist hip knee ankle big_toe small_toe heel',
)


def _coco_wholebody() -> dict[str, Any]:
    """17 body, 6 foot and 68 face joints. `layouts` adds the two hands at the wrists."""
    feet = _both('*_big_toe>*_ankle *_small_toe>*_ankle *_heel>*_ankle')
    order = [
        f'{side}_{joint}'
        for side in ('left', 'right')
        for joint in ('big_toe', 'small_toe', 'heel')
    ]
    # The 68 face landmarks of 300-W: jaw 0-16, brows, nose 27-35, eyes from 36, lips from 48. Each
    # path leads away from the nose or an ear; the arcs close the eyes, the lips and the jaw.
    paths = (
        ('nose', 30, 29, 28, 27),
        (30, 33, 32, 31),
        (33, 34, 35),
        (27, 21, 20, 19, 18, 17),
        (27, 22, 23, 24, 25, 26),
        (27, 39, 38, 37, 36),
        (39, 40, 41),
        (27, 42, 43, 44, 45),
        (42, 47, 46),
        (33, 51, 50, 49, 48, 59, 58),
        (51, 52, 53, 54, 55, 56),
        (51, 62, 61, 60, 67),
        (62, 63, 64, 65),
        (62, 66, 57, 8),
        ('right_ear', *range(8)),
        ('left_ear', *range(16, 8, -1)),
    )
    arcs = ((7, 8), (8, 9), (36, 41), (45, 46), (56, 57), (57, 58), (65, 66), (66, 67))
    right = (*range(8), *range(17, 22), 31, 32, *range(36, 42), 48, 49, 50, 58, 59, 60, 61, 67)
    left = (*range(16, 8, -1), *range(26, 21, -1), 35, 34, 45, 44, 43, 42, 47, 46, 54, 53, 52, 56)
    left += (55, 64, 63, 65)
    face = [f'face.{i}' for i in range(68)]
    named = [[i if isinstance(i, str) else face[i] for i in path] for path in paths]
    parents = {child: parent for path in named for parent, child in pairwise(path)}
    edges = [*parents.items(), *((face[a], face[b]) for a, b in arcs)]
    mirrored = tuple((face[a], face[b]) for a, b in zip(left, right, strict=True))
    return dict(
        name='coco_wholebody',
        joints=(*_COCO_JOINTS, *order, *face),
        edges=(*_COCO_PARENTS.items(), *feet.items(), *edges),
        parents={**_COCO_PARENTS, **feet, **parents},
        center=('left_shoulder', 'right_shoulder'),
        scale=('left_shoulder', 'right_shoulder'),
        swaps=(*_COCO_SWAPS, *_pairs('big_toe small_toe heel'), *mirrored),
        parts=_parts('wrist', 'nose'),
    )


DEFINITIONS = (
    _kinect_v2(),
    _kinect_v1(),
    _mediapipe_pose(),
    _mediapipe_upper_body(),
    _hand(),
    _coco(),
    _OPENPOSE_18,
    _OPENPOSE_25,
)
COCO_WHOLEBODY = _coco_wholebody()
