"""Windows of a video: the bodies and hands in its last frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.clip import Clip
from ..datasets.extraction.estimators import BodyPose, Estimator, HandPose

if TYPE_CHECKING:
    from ..datasets.extraction.extract import Track

Hands = Mapping[tuple[int, int], HandPose]


@dataclass(frozen=True)
class Frame:
    """Bodies and hands in one frame, and its image if a model needs it."""

    number: int
    bodies: Mapping[int, BodyPose]
    hands: Hands
    image: np.ndarray | None = None


class WindowBuffer:
    """Keeps the bodies and hands of the last frames and gives each window that is complete.

    Args:
        length: Frames of a window.
        stride: Frames from the beginning of one to that of the next.
    """

    def __init__(self, length: int, stride: int) -> None:
        self.length, self.stride = length, stride
        self._frames: deque[Frame] = deque(maxlen=length)
        self._size = (0, 0)
        self._count, self._given = 0, 0  # frames so far, and when the last window was given

    def add(
        self,
        number: int,
        size: tuple[int, int],
        bodies: Mapping[int, BodyPose],
        hands: Hands,
        image: np.ndarray | None = None,
    ) -> Window | None:
        """Takes the next frame; returns the window that it completes, if any.

        Args:
            number: Number of the frame in the source.
            size: (width, height) of the image.
            bodies, hands: Results of ``BodyHandTracker.step``.
            image: The image itself, if the window has to keep it.
        """
        self._size = size
        self._frames.append(Frame(number, bodies, hands, image))
        self._count += 1
        if self._count < self.length or (self._count - self.length) % self.stride:
            return None
        self._given = self._count
        return Window(tuple(self._frames), self._size)

    def end(self) -> Window | None:
        """The last window, up to the end, if there are frames that no window contained."""
        if self._count == self._given:
            return None
        return Window(tuple(self._frames), self._size)


@dataclass(frozen=True)
class Window:
    """Consecutive frames.

    Args:
        frames: At least one.
        size: (width, height) of the images.
    """

    frames: Sequence[Frame]
    size: tuple[int, int]

    @property
    def first(self) -> int:
        """Number of the first frame."""
        return self.frames[0].number

    @property
    def last(self) -> int:
        """Number of the last frame."""
        return self.frames[-1].number

    @property
    def images(self) -> dict[int, np.ndarray]:
        """The images that were kept, by the number of the frame."""
        return {frame.number: frame.image for frame in self.frames if frame.image is not None}

    def tracks(self, at_most: int) -> dict[int, Track]:
        """The persons in the window by number, those who move most first.

        Args:
            at_most: Largest number of persons.
        """
        from ..datasets.extraction.extract import Track

        found: dict[int, Track] = {}
        for t, frame in enumerate(self.frames):
            for person, body in frame.bodies.items():
                track = found.setdefault(person, Track())
                track.frames.append(t)
                track.bodies.append(body)
                track.hands.append([frame.hands.get((person, side)) for side in (0, 1)])
        order = sorted(found, key=lambda p: (-found[p].motion, -found[p].score, p))
        return {person: found[person] for person in order[:at_most]}

    def clip(self, tracks: Sequence[Track], estimator: Estimator, **fields: Any) -> Clip:
        """A clip of these persons; with one empty person if there are none."""
        from ..datasets.extraction.extract import Track, tracks_to_clip

        numbers = [frame.number for frame in self.frames]
        return tracks_to_clip(tracks or [Track()], numbers, self.size, estimator, **fields)

    def arrays(self, track: Track | None, num_joints: int) -> dict[str, np.ndarray]:
        """Pixels and confidences of one person, as the fields of ``Result``."""
        count = len(self.frames)
        out = {
            'frame_index': np.array([frame.number for frame in self.frames]),
            'body': np.full((count, num_joints, 2), np.nan, np.float32),
            'body_score': np.zeros(count, np.float32),
            'joint_score': np.zeros((count, num_joints), np.float32),
            'hand': np.full((2, count, 21, 2), np.nan, np.float32),
            'hand_score': np.zeros((2, count), np.float32),
        }
        if track is None:
            return out
        for t, body, hands in zip(track.frames, track.bodies, track.hands, strict=True):
            out['body'][t], out['body_score'][t] = body.points[:, :2], body.score
            out['joint_score'][t] = body.joint_score
            for side, hand in enumerate(hands):
                if hand is not None:
                    out['hand'][side, t] = hand.points[:, :2]
                    out['hand_score'][side, t] = hand.score
        return out
