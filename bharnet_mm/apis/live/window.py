"""Makes a clip of the last seconds of a stream."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ...datasets.clip import Clip
from ...datasets.extraction.estimators import BodyPose, Estimator, HandPose
from ..windows import Frame, Window


@dataclass(frozen=True)
class Step:
    """Bodies and hands of one frame.

    Attributes:
        position (float): Time of the frame, in seconds of the source.
        time (float): When the frame was read (``time.monotonic()``).
        bodies (dict): Person number → body.
        hands (dict): (person number, side) → hand; side 0 is left, 1 is right.
        image (np.ndarray, optional): The image, for a model with an rgb expert.
    """

    position: float
    time: float
    bodies: dict[int, BodyPose]
    hands: dict[tuple[int, int], HandPose]
    image: np.ndarray | None = None


class SlidingWindow:
    """Collects steps and makes a clip of the last ``seconds``.

    Args:
        seconds: Length of the window.
        max_persons: Persons in a clip; those who move most are kept.
    """

    def __init__(self, seconds: float, max_persons: int = 2) -> None:
        self.seconds, self.max_persons = seconds, max_persons
        self._steps: deque[Step] = deque()

    def add(self, step: Step) -> None:
        """Appends a step and removes those before the window."""
        self._steps.append(step)
        while step.position - self._steps[0].position > self.seconds:
            self._steps.popleft()

    def clear(self) -> None:
        """Removes all steps, for use after an interruption."""
        self._steps.clear()

    @property
    def start(self) -> float:
        """Position of the first step, in seconds of the source."""
        return self._steps[0].position

    @property
    def filled(self) -> float:
        """Share of the window that the steps cover, 0 to 1."""
        if len(self._steps) < 2:
            return 0.0
        return min(1.0, (self._steps[-1].position - self.start) / self.seconds)

    def clip(self, size: tuple[int, int], estimator: Estimator) -> Clip | None:
        """The window as a clip, or None if nobody is in it.

        Its frames are numbered as :attr:`images` are, and are equally far apart. A camera delivers
        frames irregularly and some are dropped. So each step is put at the nearest of as many
        equally distant places. Places without a step are missing frames, which the pipeline fills
        or masks.

        Args:
            size: Width and height of the images.
            estimator: Estimator, which has the layout and the channels.
        """
        if len(self._steps) < 2:
            return None
        places, spacing = self._places()
        frames = [Frame(place, {}, {}) for place in range(places[-1] + 1)]
        for place, step in zip(places, self._steps, strict=True):
            frames[place] = Frame(place, step.bodies, step.hands)
        window = Window(frames, size)
        tracks = window.tracks(self.max_persons)
        if not tracks:
            return None
        name = f'{self.start:.2f} s'
        return window.clip(list(tracks.values()), estimator, clip_id=name, label=0, fps=1 / spacing)

    @property
    def images(self) -> dict[int, np.ndarray]:
        """The images that were kept, by the number of the frame in :meth:`clip`."""
        kept = zip(self._places()[0], self._steps, strict=True)
        return {place: step.image for place, step in kept if step.image is not None}

    def _places(self) -> tuple[list[int], float]:
        """The place of each step among equally distant frames, and their distance in seconds."""
        positions = np.array([step.position for step in self._steps])
        spacing = max((positions[-1] - positions[0]) / (len(positions) - 1), 1e-6)
        return np.rint((positions - positions[0]) / spacing).astype(int).tolist(), spacing
