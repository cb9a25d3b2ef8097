"""The embedded sample: synthetic clips of bodies and hands whose experts have known ceilings.

Every class is an arm motion done with a hand action (`Gesture`). Body and hands are drawn from
separate random streams: the body's generator is told the arm motion only, the hands' generator the
hand action only. Several classes share an arm motion, others share a hand action. So, whatever the
network, no body expert can pass `body_ceiling`, no hand expert `hand_ceiling`, while both together
can pass either; `fused_ceiling` is below 1 only for clips whose acting hand was never seen.

Bodies are 25 Kinect v2 joints in camera metres. Hands are 21 joints as MediaPipe gives them for a
square crop around the hand: x and y in fractions of the crop (y down), z relative to the wrist in
the same unit. Fractions of the whole picture would tell the hand expert where the arm is; for the
same reason a hand's attitude in its crop belongs to the hand action, not to the forearm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..layouts import get_layout
from .clip import Clip
from .gestures import (
    ARM_MOTIONS,
    GESTURES,
    HAND_ACTIONS,
    PALM_FRONT,
    REST_WRIST,
    Gesture,
    find_gestures,
    relaxed,
)
from .kinematics import BodySize, body_pose, hand_pose, rotate, rotation
from .store import StoreWriter

NAME = 'synthetic sample'
FPS = 30.0
FRAMES = (30, 90)
IMAGE_SIZE = (1920, 1080)
FOCAL = 1060.0  # pixels, about that of a Kinect v2's colour camera
CROP = 0.32  # metres, the side of a hand's crop
WRIST_IN_CROP = (0.5, 0.75)
NUM_SUBJECTS = 8
LEFT_HANDED = ('3', '7')
#: Camera: degrees around the person, metres away, metres above the floor.
CAMERAS = {'1': (45.0, 3.2, 1.3), '2': (0.0, 2.9, 1.5), '3': (-45.0, 3.5, 1.1)}
SPLITS = {
    'xsub_train': {'subject': ['1', '2', '3', '4', '5']},
    'xsub_test': {'subject': ['6', '7', '8']},
    'xview_train': {'camera': ['2', '3']},
    'xview_test': {'camera': ['1']},
}
#: Share of clips in which a hand is never found: the acting hand, any other hand.
NEVER_SEEN = (0.04, 0.15)
#: Metres of sensor noise; a Kinect's hand tips and thumbs jump about, the trunk does not.
BODY_NOISE = {
    'wrist': 0.012,
    'hand': 0.02,
    'hand_tip': 0.035,
    'thumb': 0.035,
    'ankle': 0.012,
    'foot': 0.02,
}
BODY_NOISE_ELSEWHERE = 0.006
HAND_NOISE = (0.008, 0.008, 0.016)  # fractions of the crop

# One random stream each, so that nothing of one can show in another.
_TIMING, _BODY, _HAND, _BODY_SENSOR, _HAND_SENSOR, _SUBJECT, _PARTNER = range(7)


def body_ceiling(classes: Sequence[str | Gesture] = GESTURES) -> float:
    """Best top-1 of bodies alone, classes being balanced: distinct arm motions / classes."""
    gestures = find_gestures(classes)
    return len({gesture.arm for gesture in gestures}) / len(gestures)


def hand_ceiling(
    classes: Sequence[str | Gesture] = GESTURES, never_seen: float = NEVER_SEEN[0]
) -> float:
    """Best top-1 that hands alone allow.

    Hands show the hand action and how many persons there are. Where the acting hand is never seen
    (share q), at most the number of persons is left:
    `(1 - q) distinct (action, persons) / classes + q distinct persons / classes`.
    """
    gestures = find_gestures(classes)
    shown = len({(gesture.hand, gesture.persons) for gesture in gestures})
    left = len({gesture.persons for gesture in gestures})
    return ((1 - never_seen) * shown + never_seen * left) / len(gestures)


def fused_ceiling(
    classes: Sequence[str | Gesture] = GESTURES, never_seen: float = NEVER_SEEN[0]
) -> float:
    """Best top-1 of both: 1, but the body's ceiling where the acting hand is never seen."""
    return (1 - never_seen) + never_seen * body_ceiling(classes)


class SyntheticSample:
    """Generator of the clips; the same arguments give the same clips.

    Args:
        seed (int): Of everything random.
        clips_per_class (int): Default 40.
        classes (Sequence[str | Gesture]): Gestures or their names. Default: all.
    """

    def __init__(
        self, seed: int = 0, clips_per_class: int = 40, classes: Sequence[str | Gesture] = GESTURES
    ) -> None:
        if clips_per_class < 1:
            raise ConfigError(
                'SyntheticSample',
                f'clips_per_class={clips_per_class}',
                'at least 1',
                'ask for more clips',
            )
        self.seed, self.clips_per_class = seed, clips_per_class
        self.gestures = find_gestures(classes)
        self.classes = [gesture.name for gesture in self.gestures]
        self.subjects = {str(i + 1): self._subject(i) for i in range(NUM_SUBJECTS)}

    def __len__(self) -> int:
        return len(self.gestures) * self.clips_per_class

    def __iter__(self) -> Iterator[Clip]:
        for label in range(len(self.gestures)):
            for repeat in range(self.clips_per_class):
                yield self.clip(label, repeat)

    def clip(self, label: int, repeat: int) -> Clip:
        """One performance of one class, seen by one camera."""
        gesture = self.gestures[label]
        number = label * self.clips_per_class + repeat
        # Subjects and cameras go round, so that every class has the same pairs of them.
        subject = str(repeat % NUM_SUBJECTS + 1)
        camera = str((repeat // NUM_SUBJECTS + repeat % NUM_SUBJECTS) % len(CAMERAS) + 1)
        timing = self._stream(number, _TIMING)
        frames = int(timing.integers(FRAMES[0], FRAMES[1] + 1))
        envelope = action_envelope(timing, frames)
        view = CAMERAS[camera][0] + timing.normal(0, 3)

        body = self.make_bodies(gesture.arm, number, subject, envelope)
        # The store's order: who moves most comes first.
        order = np.argsort(-body.var(axis=1).sum(axis=(1, 2)), kind='stable')
        body = to_camera(body, view, *CAMERAS[camera][1:])
        body, pixel, body_score = self._sense_bodies(body, number)
        hand, hand_score = self.make_hands(
            gesture.hand, gesture.persons, number, subject, envelope, view
        )
        return Clip(
            clip_id=f'synthetic{number:05d}',
            label=label,
            body=body[order].astype(np.float32),
            body_score=body_score[order].astype(np.float32),
            hand=hand[order].astype(np.float32),
            hand_score=hand_score[order].astype(np.float32),
            frame_index=np.arange(frames, dtype=np.int32),
            body_pixel=pixel[order].astype(np.float32),
            subject=subject,
            camera=camera,
            source='synthetic',
            image_size=IMAGE_SIZE,
            fps=FPS,
        )

    def make_bodies(self, arm: str, number: int, subject: str, envelope: np.ndarray) -> np.ndarray:
        """Bodies on the spot, before any sensor; told the arm motion, never the hand action.

        Returns:
            np.ndarray: (M, T, 25, 3) metres, floor at y = 0.
        """
        rng = self._stream(number, _BODY)
        motion, count = ARM_MOTIONS[arm], len(envelope)
        bodies = []
        for person in range(motion.persons):
            size, speed, left = self.subjects[subject] if person == 0 else self._partner(number)
            mine = envelope if person == 0 else _delayed(envelope, int(rng.integers(0, 6)))
            time = np.arange(count) / FPS * speed
            active = motion.path(rng, time) + rng.normal(0, 0.04, 3)
            rest = [
                np.array(REST_WRIST) + rng.normal(0, 0.03, 3) + 0.015 * _sway(rng, time)
                for _ in range(2)
            ]
            wrists = {
                'left' if left else 'right': rest[0] + mine[:, None] * (active - rest[0]),
                'right' if left else 'left': rest[1],
            }
            facing = motion.facing * (-1 if person == 0 else 1)
            root = _sway(rng, time) * (0.012, 0.0, 0.012) + rng.normal(0, 0.1, 3) * (1, 0, 1)
            root += np.array([motion.apart / 2 * (-1 if person == 0 else 1), 0, 0])
            yaw = facing + rng.normal(0, 5) + 2 * _sway(rng, time)[:, 0]
            lean = 3 + rng.normal(0, 2) + motion.lean * mine
            bodies.append(body_pose(size, root, yaw, lean, wrists))
        return np.stack(bodies)

    def make_hands(
        self,
        action: str,
        persons: int,
        number: int,
        subject: str,
        envelope: np.ndarray,
        view: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Hands as an estimator gives them.

        Told the hand action and the number of persons, never the arm motion.

        Returns:
            tuple[np.ndarray, np.ndarray]: hand (M, 2, T, 21, 3) crop fractions, missing ones 0,
            and score (M, 2, T).
        """
        count = len(envelope)
        hands, scores = np.zeros((persons, 2, count, 21, 3)), np.zeros((persons, 2, count))
        rng, sensor = self._stream(number, _HAND), self._stream(number, _HAND_SENSOR)
        for person in range(persons):
            size, speed, left = self.subjects[subject] if person == 0 else self._partner(number)
            time = np.arange(count) / FPS * speed
            for side in range(2):
                acting = person == 0 and side == (0 if left else 1)
                angles = relaxed(rng, time)
                attitude = PALM_FRONT
                if acting:
                    shape = HAND_ACTIONS[action].angles(rng, time, _progress(envelope))
                    angles = angles + envelope[:, None, None] * (shape - angles)
                    attitude = HAND_ACTIONS[action].attitude
                wobble = rng.normal(0, (10, 12, 10)) + 3 * _sway(rng, time)
                pose = rotate(attitude, hand_pose(angles, size.hand))
                pose = rotate(_euler(wobble), pose)
                if side == 0:
                    pose = pose * (-1, 1, 1)  # a left hand is a right hand's mirror image
                hands[person, side], scores[person, side] = _sense_hand(
                    sensor,
                    rotate(rotation('y', view), pose),
                    NEVER_SEEN[0] if acting else NEVER_SEEN[1],
                )
        return hands, scores

    def _sense_bodies(
        self, body: np.ndarray, number: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = self._stream(number, _BODY_SENSOR)
        joints = get_layout('kinect_v2').joints
        sigma = np.array(
            [BODY_NOISE.get(_sideless(joint), BODY_NOISE_ELSEWHERE) for joint in joints]
        )
        body = body + _smooth(rng.normal(size=body.shape), axis=1) * sigma[:, None]
        pixel = project(body) + rng.normal(0, 1.5, (*body.shape[:-1], 2))
        score = np.ones(body.shape[:2])
        for person in range(len(body)):
            if rng.random() < 0.1:  # the tracker loses a person for a moment
                start, length = rng.integers(0, body.shape[1] - 8), rng.integers(2, 8)
                score[person, start : start + length] = 0
        seen = (score > 0)[..., None, None]
        return body * seen, pixel * seen, score

    def _stream(self, number: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, number, purpose])

    def _subject(self, index: int) -> tuple[BodySize, float, bool]:
        rng = self._stream(index, _SUBJECT)
        return *_person(rng), str(index + 1) in LEFT_HANDED

    def _partner(self, number: int) -> tuple[BodySize, float, bool]:
        """Somebody who is nobody's subject, so that splits by subject stay clean."""
        rng = self._stream(number, _PARTNER)
        return *_person(rng), bool(rng.random() < 0.2)


def write_sample(path: str | Path, seed: int = 0, clips_per_class: int = 40) -> SyntheticSample:
    """Makes a store of the sample at `path`."""
    sample = SyntheticSample(seed, clips_per_class)
    with StoreWriter(
        path,
        name=NAME,
        body_layout='kinect_v2',
        hand_layout='hand',
        body_channels=('x', 'y', 'z'),
        hand_channels=('x', 'y', 'z'),
        classes=sample.classes,
        splits=SPLITS,
        pixels=True,
    ) as writer:
        for clip in sample:
            writer.add(clip)
    return sample


def to_camera(points: np.ndarray, view: float, distance: float, height: float) -> np.ndarray:
    """World (floor at y = 0) to a level Kinect.

    It stands `distance` metres away, `view` degrees around the person, `height` metres above the
    floor.
    """
    turned = np.einsum('ij,...j->...i', rotation('y', view), points)
    return turned + np.array([0.0, -height, distance])


def project(points: np.ndarray) -> np.ndarray:
    """Camera metres (..., 3) to pixels (..., 2) of the 1920 x 1080 picture, x right and y down."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack([IMAGE_SIZE[0] / 2 + FOCAL * x / z, IMAGE_SIZE[1] / 2 - FOCAL * y / z], axis=-1)


def action_envelope(rng: np.random.Generator, frames: int) -> np.ndarray:
    """How far into the gesture the person is, (T,) in [0, 1]: minimum-jerk rise, hold, fall."""
    start, end = rng.uniform(0.02, 0.12), rng.uniform(0.86, 0.98)
    rise, fall = rng.uniform(0.14, 0.24, 2)
    time = (np.arange(frames) + 0.5) / frames

    def jerkless(u: np.ndarray) -> np.ndarray:
        u = np.clip(u, 0, 1)
        return u**3 * (10 - 15 * u + 6 * u**2)

    return jerkless((time - start) / rise) * jerkless((end - time) / fall)


def _person(rng: np.random.Generator) -> tuple[BodySize, float]:
    height = rng.uniform(1.55, 1.9)
    size = BodySize(
        height=height,
        arm=height * rng.uniform(0.3, 0.33),
        shoulders=height * rng.uniform(0.19, 0.22),
        hand=height * rng.uniform(0.102, 0.114),
    )
    return size, rng.uniform(0.8, 1.25)


def _sense_hand(
    rng: np.random.Generator, pose: np.ndarray, never_seen: float
) -> tuple[np.ndarray, np.ndarray]:
    """Crop fractions, noise and misses of one hand.

    Args:
        pose (np.ndarray): (T, 21, 3) metres, camera axes, wrist at the origin.
        never_seen (float): Chance that the whole clip is missed.

    Returns:
        tuple[np.ndarray, np.ndarray]: (T, 21, 3) fractions, missing ones 0, and score (T,).
    """
    count = len(pose)
    jump = 1 + 2 * (rng.random((count, 1, 1)) < 0.04)  # now and then a whole frame is poor
    noise = _smooth(rng.normal(size=pose.shape), axis=0) * HAND_NOISE * jump
    fractions = pose / CROP * (1, -1, 1) + noise
    fractions -= fractions[:, :1] * (0, 0, 1)
    place = np.array([*WRIST_IN_CROP, 0]) + np.array([*rng.normal(0, 0.02, 2), 0])
    score = rng.uniform(0.6, 1.0, count)
    score[rng.random(count) < 0.02] = 0
    for _ in range(rng.choice(3, p=(0.6, 0.3, 0.1))):
        start, length = rng.integers(0, count), rng.integers(3, 13)
        score[start : start + length] = 0
    if rng.random() < never_seen:
        score[:] = 0
    return (fractions + place) * (score > 0)[:, None, None], score


def _euler(degrees: np.ndarray) -> np.ndarray:
    return (
        rotation('x', degrees[:, 0]) @ rotation('y', degrees[:, 1]) @ rotation('z', degrees[:, 2])
    )


def _sway(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Slow drift of order 1, (T, 3)."""
    rate, phase = rng.uniform(0.2, 0.6, 3), rng.uniform(0, 2 * np.pi, 3)
    return np.sin(2 * np.pi * time[:, None] * rate + phase)


def _delayed(signal: np.ndarray, frames: int) -> np.ndarray:
    return np.concatenate([np.repeat(signal[:1], frames), signal[: len(signal) - frames]])


def _progress(envelope: np.ndarray) -> np.ndarray:
    """Share of the gesture that is over, (T,) in [0, 1]."""
    total = np.cumsum(envelope)
    return total / total[-1]


def _smooth(noise: np.ndarray, axis: int) -> np.ndarray:
    """Correlates neighbouring frames, keeps the variance."""
    before, after = np.roll(noise, 1, axis), np.roll(noise, -1, axis)
    return (0.5 * before + noise + 0.5 * after) / np.sqrt(1.5)


def _sideless(joint: str) -> str:
    return joint.removeprefix('left_').removeprefix('right_')
