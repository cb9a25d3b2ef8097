"""Random frames marked as missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import BodyHandTransform, are_parts, is_number, is_pair


class DropFrames(BodyHandTransform):
    """Marks random frames as missing, the same ones in all ``parts``.

    Of the n frames in which anything in ``parts`` is visible, ``floor(ratio n)`` drawn without
    replacement become missing, so at least one is left if the ratio is below 1.

    Required Keys:

        - body_visible, hand_visible

    Modified Keys:

        - body_visible, hand_visible: those in ``parts``

    Args:
        ratio: Fraction of frames in [0, 1], or a pair to draw it from uniformly for each clip.
        parts: One or both of 'body' and 'hand'. Defaults to both.
    """

    def __init__(
        self, ratio: float | tuple[float, float], parts: Sequence[str] = ('body', 'hand')
    ) -> None:
        self.ratio = ratio
        self.parts = parts
        self._check(
            is_number(ratio, 0, 1) or is_pair(ratio, 0, 1),
            'ratio',
            'a number in [0, 1] or two in ascending order',
        )
        self._check(are_parts(parts), 'parts', "one or both of 'body' and 'hand'")

    def transform(self, results: dict) -> dict:
        """Marks a share of the visible frames of ``results`` as missing."""
        ratio = self.ratio if is_number(self.ratio) else np.random.uniform(*self.ratio)
        anyone = False
        for part in self.parts:
            visible = results[f'{part}_visible']
            anyone = anyone | visible.reshape(-1, visible.shape[-1]).any(axis=0)
        frames = anyone.nonzero()[0]
        lost = np.random.permutation(frames)[: int(ratio * len(frames))]
        if not len(lost):
            return results
        for part in self.parts:
            visible = results[f'{part}_visible'].copy()
            visible[..., lost] = False
            results[f'{part}_visible'] = visible
        return results
