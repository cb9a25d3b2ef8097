"""Reads ``.pose`` files of MediaPipe Holistic or OpenPose with the library pose-format."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SourceError
from ...io.packages import import_package
from ...io.text import read_bytes
from .people import Person

#: Names of the body's component, with its joints and layout; of the hands', left then right.
_BODIES = (
    ('POSE_LANDMARKS', 33, 'mediapipe_pose'),
    ('pose_keypoints_2d', 25, 'openpose_25'),
    ('pose_keypoints_2d', 18, 'openpose_18'),
)
_HANDS = (
    ('LEFT_HAND_LANDMARKS', 'RIGHT_HAND_LANDMARKS'),
    ('hand_left_keypoints_2d', 'hand_right_keypoints_2d'),
)


def read_pose(path: Path) -> dict[str, Any]:
    """The fields of a ``keypoint_files.Recording`` from a ``.pose`` file.

    Raises:
        ConfigError: The library is not installed.
        SourceError: The components are not those of MediaPipe or OpenPose.
    """
    pose = import_package(f'{path}', 'pose_format').Pose.read(read_bytes(path))
    places, start = {}, 0
    for component in pose.header.components:
        places[component.name] = slice(start, start + len(component.points))
        start += len(component.points)
    body = next(
        (
            (places[name], layout)
            for name, joints, layout in _BODIES
            if name in places and places[name].stop - places[name].start == joints
        ),
        None,
    )
    if body is None:
        raise SourceError(
            str(path),
            f'the components {list(places)}',
            f'one of {[name for name, _, _ in _BODIES]} with 33, 25 or 18 points',
            'convert it with the estimators of pose-format (mediapipe, openpose)',
        )
    hands = [[places.get(name) for name in pair] for pair in _HANDS]
    sides = next((pair for pair in hands if any(pair)), [None, None])
    data = np.ma.filled(pose.body.data, 0).astype(np.float32)  # (frames, people, points, C)
    score = np.asarray(pose.body.confidence, np.float32)
    data, score = np.nan_to_num(data), np.nan_to_num(score).clip(0, 1)
    channels = min(data.shape[-1], 3)
    kept = [body[0], *[side for side in sides if side]]
    size = (int(pose.header.dimensions.width), int(pose.header.dimensions.height))
    xy = np.abs(data[:, :, body[0], :2])
    pixel = bool(xy.max(initial=0) > 4)
    dropped = Counter(
        {
            f'component {name} of a .pose file: not kept': 1
            for name, place in places.items()
            if place not in kept
        }
    )

    def part(t: int, p: int, place: slice) -> tuple[np.ndarray, np.ndarray]:
        return data[t, p, place, :channels], score[t, p, place]

    frames = []
    for t in range(len(data)):
        people = []
        for p in range(data.shape[1]):
            found = [
                part(t, p, side) if side and score[t, p, side].any() else None for side in sides
            ]
            people.append(Person(part(t, p, body[0]), (found[0], found[1])))
        frames.append(people)
    return dict(
        layout=body[1],
        channels=('x', 'y', 'z')[:channels],
        frames=frames,
        numbers=list(range(len(frames))),
        unit='pixel' if pixel else 'fraction',
        image_size=size if pixel or min(size) > 1 else (0, 0),
        fps=float(pose.body.fps),
        tracked=True,
        dropped=dropped,
    )
