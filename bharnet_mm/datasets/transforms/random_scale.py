"""Scales clips at random."""

from __future__ import annotations

import numpy as np

from .base import BodyHandTransform, apply_linear, is_number


class RandomScale(BodyHandTransform):
    """Scales (and optionally shears) body and hands by one random matrix, each about the origin of
    its coordinates.

    ``x -> A x`` with ``A[i, i]`` uniform in [1 - scale, 1 + scale] and ``A[i, j]`` uniform in
    [-shear, shear]. With two channels the upper left 2 x 2 of A is used.

    Required Keys:

        - body, body_visible, hand, hand_visible
        - hand_space (optional)

    Modified Keys:

        - body, hand

    Args:
        scale: Largest relative change, below 1. Defaults to 0.1.
        per_axis: Whether each axis has its own factor. Defaults to True.
        shear: Largest shear. Defaults to 0.
    """

    def __init__(self, scale: float = 0.1, per_axis: bool = True, shear: float = 0.0) -> None:
        self.scale = scale
        self.per_axis = per_axis
        self.shear = shear
        self._check(is_number(scale, 0) and scale < 1, 'scale', 'a number in [0, 1)')
        self._check(isinstance(per_axis, bool), 'per_axis', 'True or False')
        self._check(is_number(shear, 0), 'shear', 'a number >= 0')

    def transform(self, results: dict) -> dict:
        """Scales the skeletons of ``results`` by one random matrix."""
        factors = np.random.uniform(1 - self.scale, 1 + self.scale, 3 if self.per_axis else 1)
        matrix = np.eye(3) * factors
        if self.shear:
            matrix += np.random.uniform(-self.shear, self.shear, (3, 3)) * (1 - np.eye(3))
        apply_linear(self, results, matrix)
        return results
