"""OpenPose's JSON output: a folder with one file for each frame.

``<name>_<frame>_keypoints.json`` holds ``people``, each with flat lists of x, y and confidence:
``pose_keypoints_2d`` (BODY_25 or COCO 18), ``hand_left_keypoints_2d``, ``hand_right_keypoints_2d``
(21 each, the joint order of layout ``hand``) and ``face_keypoints_2d``. A joint that was not found
is 0, 0, 0. Depending on ``--keypoint_scale``, coordinates are pixels, fractions, or from -1 to 1.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SourceError
from ...io.text import load_json
from .people import Person

LAYOUTS = {25: 'openpose_25', 18: 'openpose_18'}
_FILE = re.compile(r'(?:.*?_)?(\d{1,15})_keypoints\.json')
_HANDS = ('hand_left_keypoints_2d', 'hand_right_keypoints_2d')
_NOT_KEPT = (
    'face_keypoints_2d',
    'pose_keypoints_3d',
    'face_keypoints_3d',
    'hand_left_keypoints_3d',
    'hand_right_keypoints_3d',
)


def read_openpose(folder: Path) -> dict[str, Any]:
    """The fields of a ``keypoint_files.Recording`` from a folder of OpenPose's files.

    Raises:
        SourceError: A file has another form.
    """
    files = {}
    for path in folder.glob('[!.]*_keypoints.json'):
        found = _FILE.fullmatch(path.name)
        if not found or int(found[1]) in files:
            raise SourceError(
                str(path),
                'a name without a frame number, or with one that is taken already',
                '<name>_<frame>_keypoints.json, one clip a folder',
                'rename the file, or give each video a folder of its own',
            )
        files[int(found[1])] = path
    dropped: Counter = Counter()
    layout, frames = '', []
    for number in sorted(files):
        people = []
        for person in _people(files[number]):
            joints = _points(person.get('pose_keypoints_2d', person.get('pose_keypoints', [])))
            hands = [_points(person.get(key, [])) for key in _HANDS]
            if joints is None or any(hand is None or len(hand) not in (0, 21) for hand in hands):
                raise _error(files[number], 'lists of another length')
            if len(joints):
                name = LAYOUTS.get(len(joints), '')
                if not name or (layout and name != layout):
                    raise _error(files[number], f'{len(joints)} joints of a body')
                layout = name
            dropped.update(
                {f'{key} in a frame: not kept': 1 for key in _NOT_KEPT if person.get(key)}
            )
            people.append((joints, hands))
        frames.append(people)
    if not layout:
        raise _error(folder, 'no body in any frame')
    joints = next(n for n, name in LAYOUTS.items() if name == layout)
    unit, scale = _unit(frames)
    return dict(
        layout=layout,
        channels=('x', 'y'),
        frames=[
            [_person(body, hands, joints, scale) for body, hands in people] for people in frames
        ],
        numbers=sorted(files),
        unit=unit,
        dropped=dropped,
    )


def _people(path: Path) -> list[dict]:
    try:
        content = load_json(path)
    except ValueError as error:
        raise _error(path, f'damaged JSON ({error})') from None
    people = content.get('people') if isinstance(content, dict) else None
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise _error(path, 'no list of people')
    return people


def _points(values: Any) -> np.ndarray | None:
    """A flat list of x, y, confidence as an array (n, 3); None if it is not such a list."""
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        return None
    return array.reshape(-1, 3) if array.ndim == 1 and array.size % 3 == 0 else None


def _unit(frames: list) -> tuple[str, str]:
    """Unit of the coordinates, and ``'signed'`` if they go from -1 to 1."""
    parts = [p for people in frames for body, hands in people for p in (body, *hands)]
    xy = np.concatenate([p[p[:, 2] > 0, :2] for p in parts if p is not None and len(p)])
    if not xy.size or np.abs(xy).max() > 2:
        return 'pixel', ''
    return 'fraction', 'signed' if (xy < -0.2).any() else ''


def _person(body: np.ndarray, hands: list, joints: int, scale: str) -> Person:
    body = body if len(body) else np.zeros((joints, 3), np.float32)

    def split(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        score = points[:, 2].clip(0, 1)
        xy = (points[:, :2] + 1) / 2 if scale == 'signed' else points[:, :2]
        return np.where(score[:, None] > 0, xy, 0), score

    found = [None if h is None or not (h[:, 2] > 0).any() else split(h) for h in hands]
    return Person(split(body), (found[0], found[1]))


def _error(path: Path, found: str) -> SourceError:
    return SourceError(
        str(path),
        found,
        'people with pose_keypoints_2d of BODY_25 or COCO (18), hands of 21: x, y, confidence',
        'write it again with OpenPose --write_json --hand, or leave the clip out',
    )
