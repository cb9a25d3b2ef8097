"""An axis that a model has to do without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import BodyHandTransform, are_parts, is_number


class DropAxis(BodyHandTransform):
    """Sets one axis of the coordinates to 0, the same in all frames and parts.

    The axis is drawn from those that all parts have. A model so learns not to rely on a single
    direction, such as the depth, which another camera sees differently. SkateFormer's public recipe
    for N-UCLA has it.

    Required Keys:

        - the parts, e.g. body

    Modified Keys:

        - the parts

    Args:
        prob: Probability of dropping an axis of a clip. Defaults to .5.
        parts: One or both of 'body' and 'hand'. Defaults to both.
    """

    def __init__(self, prob: float = 0.5, parts: Sequence[str] = ('body', 'hand')) -> None:
        self.prob = prob
        self.parts = parts
        self._check(is_number(prob, 0, 1), 'prob', 'a probability')
        self._check(are_parts(parts), 'parts', "one or both of 'body' and 'hand'")

    def transform(self, results: dict) -> dict:
        """Drops an axis of ``results``."""
        if np.random.random() >= self.prob:
            return results
        axis = np.random.randint(min(results[part].shape[-1] for part in self.parts))
        for part in self.parts:
            x = np.array(results[part])
            x[..., axis] = 0
            results[part] = x
        return results
