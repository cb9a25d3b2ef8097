"""Rotates clips at random."""

from __future__ import annotations

from math import cos, sin

import numpy as np

from .base import SKELETONS, BodyHandTransform, apply_linear, is_number


class RandomRotate(BodyHandTransform):
    """Rotates body and hands by one random rotation, the same in all frames, each about the origin
    of its coordinates.

    ``x -> Rz(c) Ry(b) Rx(a) x`` with a, b, c uniform in [-theta, theta], as in the feeders of
    CTR-GCN and DeGCN; in the image plane ``x -> Rz(c) x``. Left hands in canonical space are mirror
    images and are rotated accordingly, so ``NormalizeSkeleton`` may come before or after.

    Required Keys:

        - body, body_visible, hand, hand_visible
        - hand_space (optional)

    Modified Keys:

        - body, hand

    Args:
        theta: Largest angle in radians, one for all axes or three for x, y and z. Defaults to 0.3.
        plane: '3d', or 'image' for a rotation about z only, which works with two channels. Defaults
            to '3d'.
        prob: Probability of rotating a clip. Defaults to 1.

    Raises:
        ClipError: ``plane='3d'`` and visible bodies or hands without three channels.
    """

    def __init__(
        self, theta: float | tuple[float, float, float] = 0.3, plane: str = '3d', prob: float = 1.0
    ) -> None:
        self.theta = theta
        self.plane = plane
        self.prob = prob
        angles = [theta] * 3 if is_number(theta) else theta
        self._check(
            isinstance(angles, (tuple, list))
            and len(angles) == 3
            and all(is_number(a, 0) for a in angles),
            'theta',
            'an angle >= 0 in radians, or three of them',
        )
        self._check(plane in ('3d', 'image'), 'plane', "'3d' or 'image'")
        self._check(is_number(prob, 0, 1), 'prob', 'a probability')
        self._limits = np.array(angles, dtype=np.float64)

    def transform(self, results: dict) -> dict:
        """Rotates the skeletons of ``results`` by one random rotation."""
        if self.plane == '3d':
            for part in SKELETONS:
                if results[part].shape[-1] != 3 and results[f'{part}_visible'].any():
                    raise self._clip_error(
                        results,
                        f'{results[part].shape[-1]} channels in {part!r}',
                        '3, to rotate in space',
                        "use plane='image', or select channels after rotating",
                    )
        if np.random.random() >= self.prob:
            return results
        a, b, c = np.random.uniform(-self._limits, self._limits).tolist()
        if self.plane == 'image':
            a = b = 0.0
        apply_linear(self, results, rotation(a, b, c))
        return results


def rotation(a: float, b: float, c: float) -> np.ndarray:
    """``Rz(c) Ry(b) Rx(a)``, (3, 3) float32; angles in radians."""
    ca, sa, cb, sb, cc, sc = cos(a), sin(a), cos(b), sin(b), cos(c), sin(c)
    return np.array(
        [
            [cc * cb, cc * sb * sa - sc * ca, cc * sb * ca + sc * sa],
            [sc * cb, sc * sb * sa + cc * ca, sc * sb * ca - cc * sa],
            [-sb, cb * sa, cb * ca],
        ],
        dtype=np.float32,
    )
