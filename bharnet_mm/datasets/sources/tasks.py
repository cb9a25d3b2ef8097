"""Reads results of MediaPipe Tasks as JSON: one file for each clip, one result for each frame.

The file is a list of results, or a dict with such a list under ``frames`` or ``results``, or one
result per line. A result is the output of a landmarker, in Python's spelling (``pose_landmarks``)
or JavaScript's (``poseLandmarks``): of the Holistic Landmarker ``pose_landmarks``,
``left_hand_landmarks``, ``right_hand_landmarks``; or of the Pose and the Hand Landmarker, perhaps
one below the other (``{"pose": ..., "hands": ...}``). Landmarks are dicts of ``x, y, z`` and
perhaps ``visibility``, in fractions of the image.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SourceError
from ...io.text import parse_json, read_text
from .people import Person

_POSE, _HAND = 33, 21


def read_tasks(path: Path) -> dict[str, Any]:
    """The fields of a ``keypoint_files.Recording`` from a JSON file of MediaPipe Tasks.

    Raises:
        SourceError: The file has another structure.
    """
    content, results = _results(path)
    dropped: Counter = Counter()
    frames = [_people(_flat(result), path, t, dropped) for t, result in enumerate(results)]
    known = {_spelling(key): value for key, value in content.items()}
    size = (
        known.get('image_width', known.get('width')),
        known.get('image_height', known.get('height')),
    )
    whole = all(isinstance(value, int) and value > 0 for value in size)
    fps = known.get('fps', 0)
    return dict(
        layout='mediapipe_pose',
        channels=('x', 'y', 'z'),
        frames=frames,
        numbers=list(range(len(frames))),
        unit='fraction',
        image_size=size if whole else (0, 0),
        fps=float(fps) if isinstance(fps, (int, float)) and fps >= 0 else 0.0,
        dropped=dropped,
    )


def _results(path: Path) -> tuple[dict, list[dict]]:
    """The facts about the whole clip, and the results of its frames."""
    text = read_text(path, 'a keypoint file as docs/data.md describes it')
    try:
        content = parse_json(text)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise _error(path, f'damaged JSON ({error})') from None
        try:
            content = [parse_json(line) for line in lines]
        except ValueError as wrong:
            raise _error(path, f'damaged JSON ({wrong})') from None
    about: dict = {}
    if isinstance(content, dict):
        about = content
        key = next((key for key in ('frames', 'results') if isinstance(content.get(key), list)), '')
        content = content[key] if key else None
    if not isinstance(content, list) or not content:
        raise _error(path, 'no list of results')
    if not all(isinstance(result, dict) for result in content):
        raise _error(path, f'a list of {type(content[0]).__name__}')
    return about, content


def _spelling(key: str) -> str:
    """``poseLandmarks`` as ``pose_landmarks``."""
    return re.sub(r'(?<=[a-z])([A-Z])', r'_\1', key).lower()


def _flat(result: dict) -> dict[str, Any]:
    """A result and the results within it, by Python's names; pose and hands are told by their
    content.
    """
    out: dict[str, Any] = {}
    for key, value in result.items():
        name = _spelling(key)
        if isinstance(value, dict) and not {'x', 'y'} <= set(value):
            inner = _flat(value)
            if 'landmarks' in inner:  # a landmarker's name for its result
                which = 'hand' if 'hand' in name or 'handedness' in inner else 'pose'
                inner[f'{which}_landmarks'] = inner.pop('landmarks')
            out |= inner
        else:
            out[name.replace('handednesses', 'handedness')] = value
    return out


def _people(result: dict, path: Path, frame: int, dropped: Counter) -> list[Person]:
    where = f'{path}, frame {frame}'
    if 'landmarks' in result:
        which = 'hand' if 'handedness' in result else 'pose'
        result = result | {f'{which}_landmarks': result['landmarks']}
    for key, value in result.items():
        if value and (key.endswith('world_landmarks') or key.startswith('face') or 'mask' in key):
            dropped[f'{key} in a frame: not kept'] += 1
    bodies = [_points(x, _POSE, where) for x in _instances(result.get('pose_landmarks'))]
    blank = np.zeros((_POSE, 3), np.float32), np.zeros(_POSE, np.float32)
    hands: list[list] = [[None, None] for _ in bodies or [None]]
    for side, key in enumerate(('left_hand_landmarks', 'right_hand_landmarks')):
        for p, points in enumerate(_instances(result.get(key))[: len(hands)]):
            hands[p][side] = _points(points, _HAND, where)
    loose = [_points(x, _HAND, where) for x in _instances(result.get('hand_landmarks'))]
    sides = _sides(result.get('handedness'), len(loose))
    _give(loose, sides, bodies, hands, dropped)
    return [
        Person(body, (found[0], found[1]))
        for body, found in zip(bodies or [blank], hands, strict=True)
    ]


def _give(loose: list, sides: list, bodies: list, hands: list[list], dropped: Counter) -> None:
    """Assigns hands without a body to the nearest free wrist; without bodies, to the side that they
    name.
    """
    wrists = [
        (float(np.linalg.norm(hand[0][0, :2] - body[0][15 + side, :2])), h, p, side)
        for h, hand in enumerate(loose)
        for p, body in enumerate(bodies)
        for side in (0, 1)
    ]
    given: set[int] = set()
    for _, h, p, side in sorted(wrists):
        if h not in given and hands[p][side] is None:
            hands[p][side] = loose[h]
            given.add(h)
    for h, hand in enumerate(loose):
        if h not in given and not bodies and sides[h] is not None and hands[0][sides[h]] is None:
            hands[0][sides[h]] = hand
            given.add(h)
    if len(given) < len(loose):
        dropped['hand without an arm or a side of its own: dropped'] += len(loose) - len(given)


def _instances(value: Any) -> list:
    """Landmarks of each body or hand: a list of them, or those of one."""
    if not value:
        return []
    first = value[0]
    single = isinstance(first, dict) or (first and isinstance(first[0], (int, float)))
    return [value] if single else [landmarks for landmarks in value if landmarks]


def _points(landmarks: list, count: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """(count, 3) and (count,): visibility, 1 if there is none."""
    if len(landmarks) != count:
        raise _error(where, f'{len(landmarks)} landmarks in place of {count}')
    rows = [
        (p['x'], p['y'], p.get('z', 0.0), p.get('visibility')) if isinstance(p, dict)
        else (*p[:3], p[3] if len(p) > 3 else None)
        for p in landmarks
    ]  # fmt: skip
    points = np.array([row[:3] for row in rows], np.float32)
    # JavaScript writes visibility 0 for hands, which have none.
    said = count == _POSE and any(row[3] for row in rows)
    score = np.array([row[3] or 0.0 for row in rows] if said else [1.0] * count, np.float32)
    return points, score.clip(1e-3, 1)


def _sides(handedness: Any, count: int) -> list[int | None]:
    """0 for left, 1 for right, None if it is not given."""
    names = []
    for entry in handedness or []:
        entry = entry[0] if isinstance(entry, list) and entry else entry
        entry = entry if isinstance(entry, dict) else {}
        name = entry.get('categoryName', entry.get('category_name', ''))
        names.append({'left': 0, 'right': 1}.get(str(name).lower()))
    return (names + [None] * count)[:count]


def _error(where: object, found: str) -> SourceError:
    return SourceError(
        str(where),
        found,
        'results of MediaPipe Tasks, one a frame: pose_landmarks (33) and hand landmarks (21)',
        'save the results of all frames of the clip as one list',
    )
