"""Fills short gaps by interpolation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import (
    BodyHandTransform,
    are_parts,
    get_known,
    get_part,
    is_count,
    neighbours,
    set_known,
    set_part,
)


class InterpolateMissing(BodyHandTransform):
    """Fills short inner gaps of each instance linearly and marks them visible.

    A run of at most ``max_gap`` missing frames between two visible ones, a and b, becomes
    ``x[t] = x[a] + (t - a) / (b - a) (x[b] - x[a])``. Longer gaps, and those at the ends of a
    clip, stay missing.

    Required Keys:

        - body, body_visible, body_layout, hand, hand_visible, hand_layout
        - body_pixel, body_joint_visible, hand_joint_visible (optional)

    Modified Keys:

        - body, body_visible, hand, hand_visible: those in ``parts``
        - body_pixel: with the body
        - body_joint_visible, hand_joint_visible: True if the joint is not filled at both ends

    Args:
        max_gap: Longest gap that is filled, in frames. Defaults to 8.
        parts: One or both of 'body' and 'hand'. Defaults to both.
    """

    def __init__(self, max_gap: int = 8, parts: Sequence[str] = ('body', 'hand')) -> None:
        self.max_gap = max_gap
        self.parts = parts
        self._check(is_count(max_gap), 'max_gap', 'a whole number of at least 1')
        self._check(are_parts(parts), 'parts', "one or both of 'body' and 'hand'")

    def transform(self, results: dict) -> dict:
        """Fills short gaps between visible frames of ``results``."""
        for part in self.parts:
            x, visible, _ = get_part(results, part)
            if visible.all() or not visible.any():
                continue
            before, after = neighbours(visible)
            inner = (before >= 0) & (after < visible.shape[1])
            fill = ~visible & inner & (after - before - 1 <= self.max_gap)
            row, time = fill.nonzero()
            if not len(row):
                continue
            at = row, time, before[fill], after[fill]
            set_part(results, part, _filled(x, *at), visible | fill)
            known = get_known(results, part)
            if known is not None:
                known = known.copy()
                known[row, time] = known[row, at[2]] & known[row, at[3]]
                set_known(results, part, known)
            if part == 'body' and results.get('body_pixel') is not None:
                results['body_pixel'] = _filled(results['body_pixel'], *at)
        return results


def _filled(
    x: np.ndarray, row: np.ndarray, time: np.ndarray, a: np.ndarray, b: np.ndarray
) -> np.ndarray:
    """A copy of (I, T, V, C) with the entries (row, time) interpolated between frames a and b."""
    weight = ((time - a) / (b - a)).astype(np.float32)[:, None, None]
    x = x.copy()
    start = x[row, a]
    x[row, time] = start + weight * (x[row, b] - start)
    return x
