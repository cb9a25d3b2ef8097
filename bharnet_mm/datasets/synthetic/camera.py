"""The simulated Kinect of the synthetic sample."""

from __future__ import annotations

import numpy as np

from .kinematics import rotation

IMAGE_SIZE = (1920, 1080)
FOCAL = 1060.0  # pixels, about that of a Kinect v2's colour camera
#: Degrees around the person, metres away, metres above the floor.
CAMERAS = {'1': (45.0, 3.2, 1.3), '2': (0.0, 2.9, 1.5), '3': (-45.0, 3.5, 1.1)}


def to_camera(points: np.ndarray, view: float, distance: float, height: float) -> np.ndarray:
    """Points of the world (floor at y = 0) in the coordinates of a level Kinect.

    It stands `distance` metres away, `view` degrees around the person, `height` metres above the
    floor.
    """
    turned = np.einsum('ij,...j->...i', rotation('y', view), points)
    return turned + np.array([0.0, -height, distance])


def project(points: np.ndarray) -> np.ndarray:
    """Camera metres (..., 3) to pixels (..., 2) of the 1920 x 1080 image, x right and y down."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack([IMAGE_SIZE[0] / 2 + FOCAL * x / z, IMAGE_SIZE[1] / 2 - FOCAL * y / z], axis=-1)
