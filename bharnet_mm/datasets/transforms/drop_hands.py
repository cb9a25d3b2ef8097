"""Random hands marked as missing."""

from __future__ import annotations

import numpy as np

from .base import BodyHandTransform, is_number


class DropHands(BodyHandTransform):
    """Marks random hands as missing.

    Required Keys:

        - hand_visible

    Modified Keys:

        - hand_visible

    Args:
        prob: Probability of a loss.
        mode: Unit that is dropped with ``prob``: 'clip' (all hands of the clip), 'hand' (one hand)
            or 'frames' (one hand in one frame). Defaults to 'clip'.
    """

    def __init__(self, prob: float, mode: str = 'clip') -> None:
        self.prob = prob
        self.mode = mode
        self._check(is_number(prob, 0, 1), 'prob', 'a probability')
        self._check(mode in ('clip', 'hand', 'frames'), 'mode', "'clip', 'hand' or 'frames'")

    def transform(self, results: dict) -> dict:
        """Marks hands of ``results`` as missing."""
        visible = results['hand_visible']  # (M, 2, T)
        shapes = {'clip': (1, 1, 1), 'hand': (*visible.shape[:2], 1), 'frames': visible.shape}
        kept = np.random.random(shapes[self.mode]) >= self.prob
        results['hand_visible'] = visible & kept
        return results
