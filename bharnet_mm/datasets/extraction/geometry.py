"""Rotated square regions of an image: cutting them out and mapping points back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# Joints of the palm and finger bases: MediaPipe's hand model expects their box in the centre.
_PALM = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)


@dataclass(frozen=True)
class Region:
    """A square in pixels.

    Args:
        center: ``(x, y)``.
        side: Length of a side.
        angle: Radians, clockwise in the image; 0 is upright.
    """

    center: tuple[float, float]
    side: float
    angle: float = 0.0

    @property
    def axes(self) -> np.ndarray:
        """Unit vectors of the region's x and y as columns, (2, 2)."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]])

    def cut(self, image: np.ndarray, size: int) -> np.ndarray:
        """The region as ``(size, size, 3)``; what lies outside the image is black."""

        scale = self.side / size
        matrix = np.empty((2, 3))
        matrix[:, :2] = self.axes * scale
        # A pixel's value belongs to its centre, half a pixel from its corner.
        matrix[:, 2] = np.asarray(self.center) - self.axes @ np.full(2, self.side / 2) - 0.5
        matrix[:, 2] += matrix[:, :2] @ np.full(2, 0.5)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(image, matrix, (size, size), flags=flags)

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Fractions of the region to pixels; a third channel is a depth in fractions of the side.

        Args:
            points: ``(..., 2 or 3)``.
        """
        out = np.array(points, dtype=np.float64)
        out[..., :2] = (out[..., :2] - 0.5) * self.side @ self.axes.T + np.asarray(self.center)
        out[..., 2:] *= self.side
        return out


def upright_angle(start: np.ndarray, end: np.ndarray) -> float:
    """Angle of the region in which the direction from ``start`` to ``end`` points up."""
    dx, dy = np.asarray(end, dtype=np.float64) - np.asarray(start, dtype=np.float64)
    return float(np.arctan2(dx, -dy))


def region_from_hand(points: np.ndarray, scale: float = 2.0, shift: float = -0.1) -> Region:
    """The region to search for a hand that was at ``points`` (21, 2 or 3) in the last frame.

    Upright along wrist to knuckles, ``scale`` times the palm's box, moved by ``shift`` box heights
    to the fingers: the region of MediaPipe's hand tracking.
    """
    xy = np.asarray(points, dtype=np.float64)[:, :2]
    knuckles = (xy[5] + xy[13]) / 4 + xy[9] / 2
    angle = upright_angle(xy[0], knuckles)
    axes = Region((0.0, 0.0), 1.0, angle).axes
    local = xy[list(_PALM)] @ axes
    low, high = local.min(axis=0), local.max(axis=0)
    size = high - low
    center = axes @ ((low + high) / 2 + np.array([0.0, shift * size[1]]))
    return Region((float(center[0]), float(center[1])), float(size.max() * scale), angle)


def hand_size(points: np.ndarray) -> float:
    """Length of the palm, wrist to middle knuckle or its width times 1.3, whichever is longer
    (foreshortening).
    """
    xy = np.asarray(points, dtype=np.float64)[:, :2]
    return float(max(np.linalg.norm(xy[9] - xy[0]), 1.3 * np.linalg.norm(xy[17] - xy[5])))
