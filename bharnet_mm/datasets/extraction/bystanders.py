"""Detects people in a plain video whom the estimator does not follow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...layouts import get_layout
from .estimators import BodyPose, Estimator

_EVERY = 25  # frames
_SURE = 0.6  # mean confidence of shoulders and head
_LEAST = 0.25  # size relative to the followed person, below which somebody is in the background
_MARGIN = 0.15  # around the joints of the followed person, of the longer side of their box
SECOND = 'video that shows a second person, who is not followed'


class BystanderWatch:
    """Looks for a second person in the rest of the image, every few frames.

    If an estimator with ``bodies_in`` found one body, it is called again with that body painted
    over. A second person must be found in at least half of these calls.

    Args:
        estimator: Estimator of the video.
    """

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        layout = get_layout(estimator.body_layout)
        names = ('nose', 'left_shoulder', 'right_shoulder')
        self._head = [layout.index(name) for name in names if name in layout.joints]
        self._count = self._looks = self._hits = 0

    def step(self, image: np.ndarray, bodies: Sequence[BodyPose]) -> None:
        """The next frame and the bodies found in it."""
        self._count += 1
        if self._count % _EVERY != 1 or len(bodies) != 1:
            return
        look = getattr(self.estimator, 'bodies_in', None)
        if look is None:
            return
        self._looks += 1
        height, width = image.shape[:2]
        (body,) = bodies
        low, high = body.points[:, :2].min(axis=0), body.points[:, :2].max(axis=0)
        low, high = low - _MARGIN * (high - low).max(), high + _MARGIN * (high - low).max()
        rest = image.copy()
        x0, y0 = np.clip(low, 0, (width, height)).astype(int)
        x1, y1 = np.clip(np.ceil(high), 0, (width, height)).astype(int)
        rest[y0:y1, x0:x1] = image.mean(axis=(0, 1))
        size = float(np.ptp(body.points[:, 1]))
        self._hits += any(
            other.joint_score[self._head].min() >= _SURE
            and np.ptp(other.points[:, 1]) >= _LEAST * size
            for other in look(rest, (0, 0, width, height))
        )

    @property
    def found(self) -> bool:
        """Whether a second person was found."""
        return self._looks > 0 and 2 * self._hits >= self._looks
