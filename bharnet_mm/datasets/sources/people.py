"""Converts the people of single frames to the persons of a clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...layouts import SkeletonLayout
from ..joints import joint_scores

MAX_PERSONS = 2


class Person(NamedTuple):
    """One person in one frame.

    Attributes:
        body: (V, C) coordinates and a confidence a joint, (V,); 0 = missing.
        hands: Left and right: (21, C) with (21,), or None.
    """

    body: tuple[np.ndarray, np.ndarray]
    hands: tuple[tuple[np.ndarray, np.ndarray] | None, tuple[np.ndarray, np.ndarray] | None]

    @property
    def visible(self) -> bool:
        """Whether the body or a hand has at least one joint."""
        return bool((self.body[1] > 0).any()) or any(hand is not None for hand in self.hands)


def persons_of(
    frames: Sequence[Sequence[Person]],
    layout: SkeletonLayout,
    channels: int,
    repaired: Counter,
    tracked: bool = False,
) -> dict[str, np.ndarray | None] | None:
    """The arrays of a clip.

    Bodies are matched from frame to frame by their distance, unless ``tracked`` is set. Persons are
    ordered by number of frames and motion; those after the second are dropped and counted.

    Args:
        frames: People of each frame.
        layout: Layout of the bodies.
        channels: C.
        repaired: Counter of repairs, which is changed.
        tracked: Whether the n-th person of a frame is the n-th of all frames.

    Returns:
        ``body``, ``body_score``, ``body_joint_score``, ``hand``, ``hand_score`` and
        ``hand_joint_score`` of a ``Clip``, persons in order; None if nobody is in any frame.
    """
    tracks = _tracks(frames, tracked)
    if not tracks:
        return None
    order = sorted(tracks, key=lambda n: -_weight(tracks[n]))
    if len(order) > MAX_PERSONS:
        repaired[f'person beyond {MAX_PERSONS}: dropped'] += len(order) - MAX_PERSONS
    order = order[:MAX_PERSONS]
    m, t, v = len(order), len(frames), layout.num_joints
    body, known = np.zeros((m, t, v, channels), np.float32), np.zeros((m, t, v), np.float32)
    hand = np.zeros((m, 2, t, 21, channels), np.float32)
    hand_known = np.zeros((m, 2, t, 21), np.float32)
    for p, number in enumerate(order):
        for at, person in tracks[number].items():
            body[p, at], known[p, at] = person.body
            for side, found in enumerate(person.hands):
                if found is not None:
                    hand[p, side, at], hand_known[p, side, at] = found
    out: dict[str, np.ndarray | None] = {}
    for part, x, score in (('body', body, known), ('hand', hand, hand_known)):
        usable = np.isfinite(x).all(axis=-1) & (x != 0).any(axis=-1) & (score > 0)
        frame = np.where(usable.any(axis=-1), score.mean(axis=-1).clip(0, 1), 0)
        out[part], out[f'{part}_score'] = x, frame.astype(np.float32)
        out[f'{part}_joint_score'] = joint_scores(x, frame > 0, score)
    return out


def _tracks(frames: Sequence[Sequence[Person]], tracked: bool) -> dict[int, dict[int, Person]]:
    """Person number to frame to person."""
    # Imported here, since the extraction is needed only for this.
    from ..extraction.estimators import BodyPose
    from ..extraction.tracking import PersonTracker

    tracker, tracks = PersonTracker(), {}
    for t, people in enumerate(frames):
        numbers = list(range(len(people)))
        if not tracked:
            bodies = [BodyPose(_whole(*p.body), p.body[1], float(p.body[1].mean())) for p in people]
            numbers = tracker.update(bodies)
        for number, person in zip(numbers, people, strict=True):
            if person.visible:
                tracks.setdefault(number, {})[t] = person
    return tracks


def _whole(points: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Points with missing joints at the mean of the others, so that distances are meaningful."""
    known = (score > 0) & np.isfinite(points).all(axis=1)
    if not known.any():
        return np.zeros_like(points)
    return np.where(known[:, None], points, points[known].mean(axis=0))


def _weight(track: dict[int, Person]) -> float:
    """Number of frames, and the motion within them in body sizes."""
    points = np.stack([_whole(*person.body)[:, :2] for person in track.values()])
    size = max(float(np.linalg.norm(np.ptp(points, axis=1), axis=-1).mean()), 1e-6)
    motion = float(np.linalg.norm(points.std(axis=0), axis=-1).mean()) / size
    return len(track) * (0.05 + motion)
