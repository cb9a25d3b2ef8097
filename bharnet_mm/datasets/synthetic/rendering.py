"""Draws the images of the synthetic sample: people, hands and held objects in front of a room.

Bodies and hands are drawn at their true positions; the clip store has the noisy measurements.
Appearance is random and independent of the class, except for the held object.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from ...layouts import get_layout
from .camera import FOCAL, IMAGE_SIZE, project
from .gestures import HeldObject

VIDEO_SIZE = (480, 270)  # a quarter of the image in which body_pixel counts
_SCALE = VIDEO_SIZE[0] / IMAGE_SIZE[0]
_SHIFT = 4  # fractional bits of OpenCV's coordinates
_BODY, _HAND = get_layout('kinect_v2'), get_layout('hand')
_FINGERS = [
    [0] + [_HAND.index(j) for j in _HAND.joints if j.startswith(finger)]
    for finger in ('thumb', 'index', 'middle', 'ring', 'pinky')
]
_PALM = [_HAND.index(j) for j in ('wrist', 'index_mcp', 'middle_mcp', 'ring_mcp', 'pinky_mcp')]
_SKIN = ((240, 200, 170), (225, 180, 140), (190, 140, 100), (140, 95, 65), (95, 65, 45))


@dataclass
class Scene:
    """The content of one clip for drawing.

    Args:
        body: Joints in camera metres, (M, T, 25, 3).
        hand: Joints relative to the body's wrist, camera axes, metres, (M, 2, T, 21, 3).
        held: The object that person 0 holds, or None.
        side: In which hand: 0 left, 1 right.
        rng: Random generator of the appearance.
    """

    body: np.ndarray
    hand: np.ndarray
    held: HeldObject | None
    side: int
    rng: np.random.Generator


def draw_scene(scene: Scene) -> Iterator[np.ndarray]:
    """The frames, RGB (270, 480, 3) uint8."""
    room = _room(scene.rng)
    looks = [_look(scene.rng) for _ in scene.body]
    tilt = np.deg2rad(scene.rng.uniform(-25, 25))
    wrists = scene.body[:, :, [_BODY.index('left_wrist'), _BODY.index('right_wrist')]]
    hand = scene.hand + wrists.transpose(0, 2, 1, 3)[:, :, :, None]
    body, hand = _to_video(_with_head(scene.body)), _to_video(_with_grip(hand, scene.held, tilt))
    order = np.argsort(-scene.body[:, :, 0, 2].mean(axis=1))  # the farthest first
    for t in range(scene.body.shape[1]):
        image = room.copy()
        for p in order:
            held = scene.held if p == 0 else None
            _person(_Pen(image), body[p, t], hand[p, :, t], looks[p], held, scene.side)
        yield image


def _to_video(points: np.ndarray) -> np.ndarray:
    """Camera metres (..., 3) to x and y in OpenCV's fixed-point pixels, and pixels per metre, (...,
    3).
    """
    # Pixel centres: the middle of the first pixel is (0, 0) in either image.
    place = (project(points) + 0.5) * _SCALE - 0.5
    return np.concatenate([place * 2**_SHIFT, FOCAL * _SCALE / points[..., 2:]], axis=-1)


def _with_head(body: np.ndarray) -> np.ndarray:
    """Joints 25 and 26: the middles of hair and face."""
    head = body[..., _BODY.index('head'), :]
    return np.concatenate([body, (head + (0, 0.03, 0.02))[..., None, :], head[..., None, :]], -2)


def _with_grip(hand: np.ndarray, held: HeldObject | None, tilt: float) -> np.ndarray:
    """Joints 21 to 23: the middle of the object, and its ends if it is a stick."""
    grip = [_HAND.index(joint) for joint in ('thumb_tip', 'index_pip', 'middle_mcp')]
    place = hand[..., grip, :].mean(axis=-2, keepdims=True)
    half = np.array([np.sin(tilt), np.cos(tilt), 0.0]) * (held.size / 2 if held else 0.0)
    return np.concatenate([hand, place, place - half, place + half], axis=-2)


def _muted(rng: np.random.Generator, low: float, high: float) -> tuple[int, int, int]:
    """A colour of little saturation, unlike that of any object held."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.3), rng.uniform(low, high))
    return tuple(int(255 * value) for value in rgb)


def _room(rng: np.random.Generator) -> np.ndarray:
    width, height = VIDEO_SIZE
    image = np.empty((height, width, 3), np.uint8)
    floor = int(rng.uniform(0.62, 0.75) * height)
    image[:floor], image[floor:] = _muted(rng, 0.5, 0.95), _muted(rng, 0.25, 0.6)
    for _ in range(rng.integers(1, 4)):  # furniture
        x, y = int(rng.uniform(0, width)), int(rng.uniform(0.3, 0.8) * floor)
        far = (x + int(rng.uniform(30, 120)), y + int(rng.uniform(30, 110)))
        cv2.rectangle(image, (x, y), far, _muted(rng, 0.2, 0.9), -1)
    return cv2.GaussianBlur(image, (5, 5), 0)


def _look(rng: np.random.Generator) -> dict[str, tuple[int, int, int]]:
    return dict(
        skin=_SKIN[rng.integers(len(_SKIN))],
        hair=_muted(rng, 0.05, 0.5),
        shirt=_muted(rng, 0.15, 0.95),
        trousers=_muted(rng, 0.1, 0.6),
        shoes=_muted(rng, 0.05, 0.4),
    )


class _Pen:
    """Draws on an image, with radii in metres."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image

    def line(self, a: np.ndarray, b: np.ndarray, radius: float, color: tuple) -> None:
        wide = max(round(radius * (a[2] + b[2])), 1)
        cv2.line(self.image, _at(a), _at(b), color, wide, cv2.LINE_AA, _SHIFT)

    def ball(self, center: np.ndarray, radius: float, color: tuple) -> None:
        size = round(radius * center[2] * 2**_SHIFT)
        cv2.circle(self.image, _at(center), size, color, -1, cv2.LINE_AA, _SHIFT)

    def fill(self, points: np.ndarray, color: tuple) -> None:
        corners = cv2.convexHull(points[:, :2].round().astype(np.int32))
        cv2.fillConvexPoly(self.image, corners, color, cv2.LINE_AA, _SHIFT)


def _at(point: np.ndarray) -> tuple[int, int]:
    return round(point[0]), round(point[1])


def _person(
    pen: _Pen, body: np.ndarray, hands: np.ndarray, look: dict, held: HeldObject | None, side: int
) -> None:
    # Pixels per metre decrease with the distance, so an arm with fewer of them than the trunk is
    # behind it.
    trunk = body[_BODY.index('spine_mid'), 2]
    behind = [body[[elbow, wrist], 2].mean() < trunk for _, elbow, wrist in _ARMS]
    for layer in (True, False):
        for number, arm in enumerate(_ARMS):
            if behind[number] == layer:
                mine = held if number == side else None
                _arm(pen, body[arm], hands[number].tolist(), hands[number][_PALM], look, mine)
        if layer:
            _trunk(pen, body, look)


def _joints(names: str) -> list[int]:
    return [_BODY.index(name) for name in names.split()]


_ARMS = [_joints(f'{s}_shoulder {s}_elbow {s}_wrist') for s in ('left', 'right')]
_LEGS = [_joints(f'{s}_hip {s}_knee {s}_ankle {s}_foot') for s in ('left', 'right')]
_CHEST = _joints('left_shoulder right_shoulder left_hip right_hip')
_SPINE = _joints('spine_shoulder spine_base neck head')


def _trunk(pen: _Pen, body: np.ndarray, look: dict) -> None:
    for hip, knee, ankle, foot in (body[leg].tolist() for leg in _LEGS):
        pen.line(hip, knee, 0.075, look['trousers'])
        pen.line(knee, ankle, 0.055, look['trousers'])
        pen.line(ankle, foot, 0.045, look['shoes'])
    corners = body[_CHEST]
    pen.fill(corners, look['shirt'])
    pen.line(corners[0], corners[1], 0.07, look['shirt'])
    pen.line(corners[2], corners[3], 0.09, look['shirt'])
    shoulders, base, neck, head = body[_SPINE].tolist()
    pen.line(shoulders, base, 0.13, look['shirt'])
    pen.line(neck, head, 0.05, look['skin'])
    pen.ball(body[25], 0.115, look['hair'])
    pen.ball(body[26], 0.095, look['skin'])


def _arm(
    pen: _Pen, arm: np.ndarray, hand: list, palm: np.ndarray, look: dict, held: HeldObject | None
) -> None:
    shoulder, elbow, wrist = arm.tolist()
    pen.line(shoulder, elbow, 0.05, look['shirt'])
    pen.line(elbow, wrist, 0.038, look['skin'])
    if held is not None and held.shape == 'stick':
        pen.line(hand[22], hand[23], 0.025, held.color)  # the fingers go around it
    pen.fill(palm, look['skin'])
    for finger in _FINGERS:
        for a, b in pairwise(finger[1:]):
            pen.line(hand[a], hand[b], 0.01, look['skin'])
    pen.line(hand[0], hand[_FINGERS[0][1]], 0.014, look['skin'])
    if held is not None and held.shape == 'ball':
        pen.ball(hand[21], held.size / 2, held.color)
