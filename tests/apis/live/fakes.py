"""An estimator that finds white discs and a model that counts frames; both need no library."""

from __future__ import annotations

import time

import numpy as np

from bharnet_mm.apis.results import Label, Prediction
from bharnet_mm.datasets.extraction.estimators import BodyPose
from bharnet_mm.errors import ConfigError
from bharnet_mm.layouts import get_layout

COCO = get_layout('coco')


class BrightEstimator:
    """Finds one body wherever the picture is bright: its joints lie in the middle."""

    body_layout = 'coco'
    body_channels = ('x', 'y')
    hand_channels = ('x', 'y', 'z')

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.frames = 0

    def start(self) -> None:
        pass

    def bodies(self, image: np.ndarray) -> list[BodyPose]:
        self.frames += 1
        time.sleep(self.seconds)
        if image.mean() < 20:
            return []
        points = np.random.default_rng(self.frames).uniform(20, 40, (COCO.num_joints, 2))
        return [BodyPose(points, np.ones(COCO.num_joints), 0.9)]

    def hands(self, image, arms, taken=()) -> list:
        return []


class FrameCounter:
    """A model whose answer names the number of frames of the clip."""

    classes = ['frames']
    window = 0.5

    def predict(self, clips, grids=None):
        label = Label(f'{clips[0].num_frames} frames', 1.0)
        return [
            Prediction(labels=(label,), experts={}, unsure=False, reason='', none=False)
            for _ in clips
        ]


class Dying(FrameCounter):
    """A model whose process ends while it works."""

    def predict(self, clips, grids=None):
        import os

        os._exit(7)


def broken():
    """A model that cannot be built."""
    raise ConfigError('model', 'nothing', 'a model', 'name one')
