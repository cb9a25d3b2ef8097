"""The arm motions, hand actions and held objects of the synthetic sample, and the classes made of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...errors import ConfigError
from .kinematics import rotation

#: Wrist relative to the shoulder of a hanging arm, in lengths of the arm: outwards, up, backwards.
REST_WRIST = (0.14, -0.97, -0.1)


@dataclass(frozen=True)
class Gesture:
    """One class: an arm motion done with a hand action, empty-handed or with an object."""

    arm: str
    hand: str
    held: str = ''

    @property
    def name(self) -> str:
        """Name of the class, such as ``raise + fist``."""
        return ' + '.join(filter(None, (self.arm, self.hand, self.held)))

    @property
    def persons(self) -> int:
        """Number of persons who act."""
        return ARM_MOTIONS[self.arm].persons


@dataclass(frozen=True)
class HeldObject:
    """An object that only the image shows: a `ball` or a `stick`, its colour and its width or
    length in metres.
    """

    shape: str
    color: tuple[int, int, int]
    size: float


@dataclass(frozen=True)
class ArmMotion:
    """The motion of an arm.

    `path(rng, seconds (T,)) -> (T, 3)` is the wrist relative to the shoulder in lengths of the arm:
    outwards, up, backwards.
    """

    path: Callable[[np.random.Generator, np.ndarray], np.ndarray]
    persons: int = 1
    apart: float = 0.0  # metres between two persons
    facing: float = 0.0  # degrees each of two persons turns towards the other
    lean: float = 0.0  # degrees that the upper body leans along


@dataclass(frozen=True)
class HandAction:
    """The motion of the fingers.

    `angles(rng, seconds (T,), share of the gesture that is over (T,)) -> (T, 5, 4)` is in degrees,
    as `kinematics.hand_pose` takes them; `attitude` turns a right hand to the camera's axes.
    """

    angles: Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]
    attitude: np.ndarray = field(default_factory=lambda: PALM_FRONT)


def _hold(
    rng: np.random.Generator, time: np.ndarray, place: tuple[float, float, float]
) -> np.ndarray:
    rate, phase = rng.uniform(0.3, 0.8, 3), rng.uniform(0, 2 * np.pi, 3)
    return np.array(place) + 0.02 * np.sin(2 * np.pi * rate * time[:, None] + phase)


def _cycle(
    rng: np.random.Generator, time: np.ndarray, slowest: float, fastest: float
) -> np.ndarray:
    return 2 * np.pi * (rng.uniform(slowest, fastest) * time + rng.random())


def _raise(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    return _hold(rng, time, (0.12, 0.9, -0.2))


def _wave(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    swing = np.sin(_cycle(rng, time, 1.2, 2.2)) * rng.uniform(0.18, 0.3)
    return _hold(rng, time, (0.35, 0.42, -0.4)) + np.stack(
        [swing, -0.25 * np.abs(swing), 0 * swing], -1
    )


def _circle(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    turn = _cycle(rng, time, 0.7, 1.3) * rng.choice((-1, 1))
    radius = rng.uniform(0.22, 0.32)
    return _hold(rng, time, (0.0, 0.0, -0.72)) + radius * np.stack(
        [np.cos(turn), np.sin(turn), 0 * turn], -1
    )


def _push(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    stroke = (1 - np.cos(_cycle(rng, time, 0.7, 1.3)))[:, None] / 2
    return _hold(rng, time, (0.0, -0.28, -0.32)) + stroke * np.array([-0.12, 0.3, -0.6])


def _mouth(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    bite = (1 - np.cos(_cycle(rng, time, 0.4, 0.8)))[:, None] / 2 * rng.uniform(0.05, 0.2)
    return _hold(rng, time, (-0.2, 0.16, -0.42)) + bite * np.array([0.3, -0.6, -0.5])


def _reach(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    return _hold(rng, time, (-0.2, -0.05, -0.9))


ARM_MOTIONS = {
    'raise': ArmMotion(_raise),
    'push': ArmMotion(_push, lean=5),
    'mouth': ArmMotion(_mouth, lean=4),
    'circle': ArmMotion(_circle),
    'wave': ArmMotion(_wave),
    'reach to another': ArmMotion(_reach, persons=2, apart=1.45, facing=72, lean=6),
}

# Degrees, as `kinematics.hand_pose` takes them: abduction, knuckle, middle joint, end joint.
_STRAIGHT, _CURLED, _LOOSE = (0, 6, 6, 4), (0, 82, 98, 60), (0, 22, 32, 16)
_SPREAD = np.array([0, 9, 1, -8, -16])
_THUMB_OUT, _THUMB_OVER, _THUMB_UP = (52, 14, 0, 2), (20, 46, 42, 48), (80, 6, -8, -8)


def _shape(thumb: Sequence[float], *fingers: Sequence[float], spread: float = 0.0) -> np.ndarray:
    """(5, 4) angles; `spread` is the share of the open hand's fan."""
    shape = np.array([thumb, *fingers], dtype=np.float64)
    shape[:, 0] += spread * _SPREAD
    return shape


_OPEN = _shape(_THUMB_OUT, *[_STRAIGHT] * 4, spread=1.0)
_FIST = _shape(_THUMB_OVER, *[_CURLED] * 4)
_POINT = _shape(_THUMB_OVER, _STRAIGHT, *[_CURLED] * 3)
_THUMBS = _shape(_THUMB_UP, *[_CURLED] * 4)
_PINCH = _shape(
    (22, 41, 18, 21), (2, 52, 47, 33), (0, 30, 30, 14), (0, 20, 26, 12), (0, 14, 22, 10), spread=0.4
)
_RELAXED = _shape((38, 26, 10, 14), *[_LOOSE] * 4, spread=0.3)

# Attitudes of a right hand: palm to the camera with the fingers up; back to the camera with the
# thumb up.
PALM_FRONT = np.diag([-1.0, 1.0, -1.0])
_THUMB_ON_TOP = rotation('y', -30) @ rotation('z', 90)


def relaxed(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Finger angles of a hand that does nothing, (T, 5, 4)."""
    return _still(rng, time, _RELAXED)


def _still(rng: np.random.Generator, time: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """A shape with a bias per clip and a slow tremor; `shape` is (5, 4) or (T, 5, 4)."""
    bias = rng.normal(0, (2, 5, 5, 4), (5, 4))
    rate, phase = rng.uniform(0.5, 1.5), rng.uniform(0, 2 * np.pi, (5, 4))
    return shape + bias + 2 * np.sin(2 * np.pi * rate * time[:, None, None] + phase)


def _fist(rng: np.random.Generator, time: np.ndarray, progress: np.ndarray) -> np.ndarray:
    return _still(rng, time, _FIST)


def _point(rng: np.random.Generator, time: np.ndarray, progress: np.ndarray) -> np.ndarray:
    return _still(rng, time, _POINT)


def _thumb_up(rng: np.random.Generator, time: np.ndarray, progress: np.ndarray) -> np.ndarray:
    return _still(rng, time, _THUMBS)


def _open_close(rng: np.random.Generator, time: np.ndarray, progress: np.ndarray) -> np.ndarray:
    closed = (1 - np.cos(_cycle(rng, time, 0.8, 1.5)))[:, None, None] / 2
    return _still(rng, time, _OPEN + closed * (_FIST - _OPEN))


def _pinch(rng: np.random.Generator, time: np.ndarray, progress: np.ndarray) -> np.ndarray:
    rub = np.sin(_cycle(rng, time, 1.5, 2.5))
    shape = np.tile(_PINCH, (len(time), 1, 1))
    shape[:, 1, 2] += 8 * rub
    shape[:, 0, 2] += 8 * rub
    return _still(rng, time, shape)


def _count(rng: np.random.Generator, time: np.ndarray, progress: np.ndarray) -> np.ndarray:
    """One to five: index finger first, thumb last."""
    starts = np.array([0.88, 0.06, 0.28, 0.5, 0.7])
    stretched = 1 / (1 + np.exp(-(progress[:, None] - starts) / 0.015))
    return _still(rng, time, _FIST + stretched[:, :, None] * (_OPEN - _FIST))


HAND_ACTIONS = {
    'fist': HandAction(_fist),
    'open and close': HandAction(_open_close),
    'pinch': HandAction(_pinch),
    'point': HandAction(_point),
    'thumb up': HandAction(_thumb_up, _THUMB_ON_TOP),
    'count': HandAction(_count),
}

OBJECTS = {
    'red ball': HeldObject('ball', (220, 30, 30), 0.15),
    'blue ball': HeldObject('ball', (30, 70, 230), 0.15),
    'yellow ball': HeldObject('ball', (240, 210, 20), 0.15),
    'yellow stick': HeldObject('stick', (240, 210, 20), 0.4),
}

#: The last four classes have the body and hand motions of an earlier class. They differ in the
#: object, its shape or its colour.
GESTURES = tuple(
    Gesture(arm, hand)
    for arm, hands in {
        'raise': ('point', 'count', 'fist'),
        'push': ('fist', 'thumb up'),
        'mouth': ('pinch', 'open and close'),
        'circle': ('point', 'pinch'),
        'wave': ('open and close',),
        'reach to another': ('pinch', 'fist'),
    }.items()
    for hand in hands
) + (
    Gesture('mouth', 'pinch', 'red ball'),
    Gesture('mouth', 'pinch', 'blue ball'),
    Gesture('raise', 'fist', 'yellow stick'),
    Gesture('raise', 'fist', 'yellow ball'),
)


def find_gestures(classes: Sequence[str | Gesture]) -> list[Gesture]:
    """Gestures by their names.

    Raises:
        ConfigError: There is no gesture of this name, or no class is given.
    """
    by_name = {gesture.name: gesture for gesture in GESTURES}
    unknown = [str(c) for c in classes if not isinstance(c, Gesture) and c not in by_name]
    if unknown or not len(classes):
        raise ConfigError(
            'synthetic sample',
            f'classes {unknown}' if unknown else 'no class',
            f'some of {list(by_name)}',
            'use these names',
        )
    return [c if isinstance(c, Gesture) else by_name[c] for c in classes]
