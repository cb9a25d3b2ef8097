"""Selects persons of a clip."""

from __future__ import annotations

import numpy as np

from .base import FRAME_AXES, BodyHandTransform, is_count


class SelectPersons(BodyHandTransform):
    """Keeps the first persons of those that are ever visible, in the store's order (by motion, then
    score).

    A person whose body is visible in no frame is dropped together with both hands, unless a hand is
    visible. If nobody is visible, the first person is kept, so that a clip always has one.

    Required Keys:

        - body, body_visible, hand, hand_visible
        - body_pixel, body_joint_visible, hand_joint_visible (optional)

    Modified Keys:

        - body, body_visible, hand, hand_visible: M becomes at most ``max_persons``
        - body_pixel, body_joint_visible, hand_joint_visible

    Args:
        max_persons: Upper limit of M. Defaults to 2.
    """

    def __init__(self, max_persons: int = 2) -> None:
        self.max_persons = max_persons
        self._check(is_count(max_persons), 'max_persons', 'a whole number of at least 1')

    def transform(self, results: dict) -> dict:
        """Keeps at most ``max_persons`` present persons of ``results``."""
        persons = results['body'].shape[0]
        if persons == 1:
            return results
        present = results['body_visible'].any(axis=1) | results['hand_visible'].any(axis=(1, 2))
        keep = np.flatnonzero(present)[: self.max_persons]
        if len(keep) == persons:
            return results
        if len(keep) == 0:
            keep = np.zeros(1, dtype=np.intp)
        for key, frames in FRAME_AXES.items():
            if frames > 0 and results.get(key) is not None:
                results[key] = results[key][keep]
        return results
