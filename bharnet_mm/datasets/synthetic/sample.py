"""The embedded sample: synthetic clips of bodies, hands and images whose experts have known
ceilings.

Every class is an arm motion done with a hand action, with or without an object held (`Gesture`).
Body and hands have separate random streams. The body's generator gets the arm motion only, the
hands' generator the hand action only, and neither gets the object. Some classes share an arm
motion, others a hand action. Others share both, and only the image (`rendering`) tells them apart.
So no body expert can exceed `body_ceiling`, no hand expert `hand_ceiling` and both together not
`fused_ceiling` (`ceilings`), whatever the network. All three experts together have no ceiling below
1.

Bodies are 25 Kinect v2 joints in camera metres. Hands are 21 joints as MediaPipe gives them for a
square crop around the hand: x and y in fractions of the crop (y down), z relative to the wrist in
the same unit. Fractions of the whole image would show the place of the arm to the hand expert. For
the same reason the orientation of a hand in its crop depends on the hand action and not on the
forearm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...errors import ConfigError
from ...layouts import get_layout
from ..clip import Clip
from ..store import StoreWriter
from .camera import CAMERAS, IMAGE_SIZE, project, to_camera
from .ceilings import NEVER_SEEN
from .gestures import (
    ARM_MOTIONS,
    GESTURES,
    HAND_ACTIONS,
    OBJECTS,
    PALM_FRONT,
    REST_WRIST,
    Gesture,
    find_gestures,
    relaxed,
)
from .kinematics import BodySize, body_pose, hand_pose, rotate, rotation
from .rendering import Scene

NAME = 'synthetic sample'
FPS = 30.0
FRAMES = (30, 90)
CROP = 0.32  # metres, the side of a hand's crop
WRIST_IN_CROP = (0.5, 0.75)
NUM_SUBJECTS = 8
LEFT_HANDED = ('3', '7')
SPLITS = {
    'xsub_train': {'subject': ['1', '2', '3', '4', '5']},
    'xsub_test': {'subject': ['6', '7', '8']},
    'xview_train': {'camera': ['2', '3']},
    'xview_test': {'camera': ['1']},
}
#: Metres of sensor noise; a Kinect's hand tips and thumbs are noisy, the trunk is not.
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

# Separate random streams, so that none depends on another.
_TIMING, _BODY, _HAND, _BODY_SENSOR, _HAND_SENSOR, _SUBJECT, _PARTNER, _LOOKS = range(8)


class SyntheticSample:
    """Generator of the clips; the same arguments give the same clips.

    Args:
        seed (int): Seed of all random numbers.
        clips_per_class (int): Default 32.
        classes (Sequence[str | Gesture]): Gestures or their names. Default: all.
    """

    def __init__(
        self, seed: int = 0, clips_per_class: int = 32, classes: Sequence[str | Gesture] = GESTURES
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
        """One performance of one class, filmed by one camera."""
        number = label * self.clips_per_class + repeat
        subject, camera, envelope, view = self._setting(number, repeat)
        gesture, frames = self.gestures[label], len(envelope)
        body = self.make_bodies(gesture.arm, number, subject, envelope)
        # The order of the store: the person who moves most comes first.
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
            video=self.video(label, repeat),
            image_size=IMAGE_SIZE,
            units=('metre', 'crop'),
            fps=FPS,
        )

    def video(self, label: int, repeat: int) -> str:
        """Name of its video, which `sample_videos.write_videos` makes."""
        return f'synthetic{label * self.clips_per_class + repeat:05d}.mp4'

    def scene(self, label: int, repeat: int) -> Scene:
        """The same performance for rendering: true positions and the held object."""
        number = label * self.clips_per_class + repeat
        subject, camera, envelope, view = self._setting(number, repeat)
        gesture = self.gestures[label]
        body = self.make_bodies(gesture.arm, number, subject, envelope)
        return Scene(
            body=to_camera(body, view, *CAMERAS[camera][1:]),
            hand=self.pose_hands(gesture.hand, gesture.persons, number, subject, envelope, view),
            held=OBJECTS[gesture.held] if gesture.held else None,
            side=0 if self.subjects[subject][2] else 1,
            rng=self._stream(number, _LOOKS),
        )

    def _setting(self, number: int, repeat: int) -> tuple[str, str, np.ndarray, float]:
        """Subject, camera, action envelope (T,) and degrees around the person."""
        # Subjects and cameras alternate, so that every class has the same pairs of them. Even few
        # clips for each class have people of both sides of the split.
        few = self.clips_per_class < NUM_SUBJECTS
        person = (repeat + 1) * NUM_SUBJECTS // self.clips_per_class - 1 if few else repeat
        subject = str(person % NUM_SUBJECTS + 1)
        camera = str((repeat // NUM_SUBJECTS + repeat % NUM_SUBJECTS) % len(CAMERAS) + 1)
        timing = self._stream(number, _TIMING)
        frames = int(timing.integers(FRAMES[0], FRAMES[1] + 1))
        envelope = action_envelope(timing, frames)
        return subject, camera, envelope, CAMERAS[camera][0] + timing.normal(0, 3)

    def make_bodies(self, arm: str, number: int, subject: str, envelope: np.ndarray) -> np.ndarray:
        """True bodies without noise. They depend on the arm motion and not on the hand action.

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
        """Hands as in the output of an estimator. They depend on the hand action and the number of
        persons, not on the arm motion.

        Returns:
            tuple[np.ndarray, np.ndarray]: hand (M, 2, T, 21, 3) crop fractions, missing ones 0,
            and score (M, 2, T).
        """
        poses = self.pose_hands(action, persons, number, subject, envelope, view)
        hands, scores = np.zeros_like(poses), np.zeros(poses.shape[:3])
        sensor = self._stream(number, _HAND_SENSOR)
        acting = 0 if self.subjects[subject][2] else 1
        for person, side in np.ndindex(persons, 2):
            never_seen = NEVER_SEEN[0 if (person, side) == (0, acting) else 1]
            hands[person, side], scores[person, side] = _sense_hand(
                sensor, poses[person, side], never_seen
            )
        return hands, scores

    def pose_hands(
        self,
        action: str,
        persons: int,
        number: int,
        subject: str,
        envelope: np.ndarray,
        view: float,
    ) -> np.ndarray:
        """True hands without noise: metres from the wrist, camera axes, (M, 2, T, 21, 3)."""
        hands = np.zeros((persons, 2, len(envelope), 21, 3))
        rng = self._stream(number, _HAND)
        for person in range(persons):
            size, speed, left = self.subjects[subject] if person == 0 else self._partner(number)
            time = np.arange(len(envelope)) / FPS * speed
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
                hands[person, side] = rotate(rotation('y', view), pose)
        return hands

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
        visible = (score > 0)[..., None, None]
        return body * visible, pixel * visible, score

    def _stream(self, number: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, number, purpose])

    def _subject(self, index: int) -> tuple[BodySize, float, bool]:
        rng = self._stream(index, _SUBJECT)
        return *_person(rng), str(index + 1) in LEFT_HANDED

    def _partner(self, number: int) -> tuple[BodySize, float, bool]:
        """A second person who is no subject, so that splits by subject are valid."""
        rng = self._stream(number, _PARTNER)
        return *_person(rng), bool(rng.random() < 0.2)


def write_sample(path: str | Path, seed: int = 0, clips_per_class: int = 32) -> SyntheticSample:
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


def action_envelope(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Progress of the gesture, (T,) in [0, 1]: minimum-jerk rise, hold, fall."""
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
    jump = 1 + 2 * (rng.random((count, 1, 1)) < 0.04)  # some frames are noisier
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
