"""An estimator that reads coloured discs, and videos that show them. No pose library needed."""

import os
import time

import cv2
import numpy as np
from videos import write_video  # noqa: F401  for the tests that import it from here

from bharnet_mm.datasets.extraction.estimators import LEFT, BodyPose, HandPose
from bharnet_mm.layouts import get_layout

COCO = get_layout('coco')
# Wrist colours (RGB) of person 0 and 1; a frame of one colour is a trap.
COLORS = {
    (0, 'left'): (255, 0, 0),
    (0, 'right'): (0, 255, 0),
    (1, 'left'): (0, 0, 255),
    (1, 'right'): (255, 255, 0),
}
HANG, CRASH = (255, 255, 255), (255, 0, 255)
BACKGROUND = (40, 40, 40)
# A hand that points up from its wrist at (0, 0), in forearm lengths.
HAND = np.array(
    [[0, 0]] + [[0.1 * (f - 2), -0.25 - 0.1 * k] for f in range(5) for k in range(4)], dtype=float
)
HAND = np.hstack([HAND, np.linspace(0, 0.2, 21)[:, None]])


def hand_at(wrist, size=40.0, score=0.9, right=0.5):
    points = HAND * size
    points[:, :2] += wrist
    return HandPose(points, score, right)


def body_at(left, right, size=40.0):
    """A body whose wrists are there; the elbows hang a forearm below them."""
    points = np.zeros((COCO.num_joints, 2))
    points += (np.asarray(left, float) + right) / 2
    for side, wrist in (('left', left), ('right', right)):
        points[COCO.index(f'{side}_wrist')] = wrist
        points[COCO.index(f'{side}_elbow')] = np.asarray(wrist) + [0, size]
    return BodyPose(points, np.ones(COCO.num_joints), 0.8)


def draw(wrists, width=160, height=120):
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    for key, xy in wrists.items():
        cv2.circle(image, tuple(int(v) for v in xy), 5, COLORS[key], -1)
    return image


def moving(num=6, seed=0, persons=1, start=0):
    """Frames in which the wrists of one or two persons go their ways."""
    frames = []
    for t in range(start, start + num):
        wrists = {}
        for p in range(persons):
            wrists[p, 'left'] = (120 - t - seed % 7 - 60 * p, 50 + 30 * p)
            wrists[p, 'right'] = (60 + 2 * t - 40 * p + seed % 5, 60)
        frames.append(draw(wrists))
    return frames


class FakeEstimator:
    body_layout = 'coco'
    body_channels = ('x', 'y')
    hand_channels = ('x', 'y', 'z')

    def __init__(self, models=None, min_score=0.5):
        self.calls = []

    def start(self):
        self.calls.append('start')

    def _find(self, image):
        flat = image.reshape(-1, 3).astype(int)
        if np.abs(flat - HANG).max() < 40:
            time.sleep(600)
        if np.abs(flat - CRASH).max() < 40:
            os._exit(3)
        found = {}
        for key, color in COLORS.items():
            near = np.abs(image.astype(int) - color).max(axis=-1) < 90
            if near.sum() > 20:
                ys, xs = np.nonzero(near)
                found[key] = np.array([xs.mean(), ys.mean()])
        return found

    def bodies(self, image):
        found = self._find(image)
        return [
            body_at(found[p, 'left'], found[p, 'right'])
            for p in (0, 1)
            if (p, 'left') in found and (p, 'right') in found
        ]

    def bodies_in(self, image, box):
        x0, y0, x1, y1 = box
        found = [
            body.points[[COCO.index('left_wrist'), COCO.index('right_wrist')]]
            for body in self.bodies(image)
        ]
        middles = [wrists.mean(axis=0) for wrists in found]
        return [
            body
            for body, (x, y) in zip(self.bodies(image), middles, strict=True)
            if x0 <= x <= x1 and y0 <= y <= y1
        ]

    def hands(self, image, arms, taken=()):
        self.calls.append((len(arms), len(taken)))
        found = self._find(image)
        hands = [hand_at(xy, right=float(side == 'right')) for (_, side), xy in found.items()]
        hands = [h for h in hands if not any(np.allclose(h.points, t.points) for t in taken)]
        # Every crop shows every hand near it, as real crops do.
        return [
            hand
            for arm in arms
            for hand in hands
            if np.linalg.norm(hand.points[0, :2] - arm.wrist) < 2 * arm.size
        ]


class NoSecondOpinion(FakeEstimator):
    """As a backend that cannot look at a part of the picture: ``hasattr`` says no."""

    bodies_in = property()


BACKEND = f'{__name__}:FakeEstimator'
assert LEFT == 0
