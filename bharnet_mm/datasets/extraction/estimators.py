"""What a pose estimator gives and takes here, whichever library is behind it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...errors import ConfigError

LEFT, RIGHT = 0, 1


@dataclass(eq=False)
class BodyPose:
    """One body in one frame.

    Args:
        points: Pixels, then depth in pixels where the estimator gives one, ``(V, 2 or 3)``.
        joint_score: Confidence per joint, ``(V,)`` in [0, 1].
        score: Confidence of the body in [0, 1].
    """

    points: np.ndarray
    joint_score: np.ndarray
    score: float


@dataclass(eq=False)
class HandPose:
    """One hand in one frame.

    Args:
        points: Pixels, then depth in pixels where the estimator gives one, ``(21, 2 or 3)``.
        score: Confidence that there is a hand, in [0, 1].
        right: Probability that it is a right hand; 0.5 where the estimator cannot tell.
        view: What the estimator wants to be given back with ``Arm.last`` in the next frames.
    """

    points: np.ndarray
    score: float
    right: float = 0.5
    view: Any = None


@dataclass(eq=False)
class Arm:
    """Where a hand is to be looked for.

    Args:
        wrist, elbow: Pixels, ``(2,)``; the elbow is NaN if it is unknown.
        size: Length of a forearm seen from the side, in pixels.
        reliable: Whether the body estimator is sure of the wrist.
        previous: Where the hand that was last found here should be now, moved along with the wrist:
            ``(21, 2 or 3)`` pixels, or None.
        person, side: Whose arm, and ``LEFT`` or ``RIGHT``.
        last: The hand that was last found here, as it was found, or None.
        lost: Frames since then in which there was none.
        rivals: All arms in the image, this one too: a hand that is nearer to another is not this
            arm's.
        search: Number of this search for a lost hand, from 1; 0 in the call that only follows.
    """

    wrist: np.ndarray
    elbow: np.ndarray
    size: float
    reliable: bool = True
    previous: np.ndarray | None = None
    person: int = 0
    side: int = LEFT
    last: HandPose | None = None
    lost: int = 0
    rivals: Sequence[Arm] = ()
    search: int = 0


class Estimator(Protocol):
    """Finds bodies and hands in images. One instance for each process; the three attributes are the
    class's.

    It may also have ``bodies_in(image, box) -> list[BodyPose]``: bodies inside ``box`` (x0, y0, x1,
    y1 in pixels), whatever was in the frames before. It is used to see whether a known skeleton's
    wrists are where the image shows them, and whether a plain video shows a second person.
    """

    body_layout: str
    body_channels: tuple[str, ...]
    hand_channels: tuple[str, ...]

    def start(self) -> None:
        """A new video begins: forget the last one."""

    def bodies(self, image: np.ndarray) -> list[BodyPose]:
        """Bodies of one RGB frame ``(H, W, 3)`` uint8; called once a frame, in order."""

    def hands(
        self, image: np.ndarray, arms: list[Arm], taken: Sequence[HandPose] = ()
    ) -> list[HandPose]:
        """Hands near the arms in the same frame, in any order and possibly several times the same
        one.

        Called a few times a frame: first for the hands to be followed, then for the arms that are
        without one and are to be searched (``search`` of each is 1 or more), beside the hands
        ``taken``. An estimator that finds all hands at once may answer all calls alike.

        Args:
            image: The frame.
            arms: Where to look.
            taken: Hands known already: what is wanted are others, beside or behind them.
        """


BACKENDS = {
    'mediapipe': 'bharnet_mm.datasets.extraction.mediapipe_estimator:MediaPipeEstimator',
    'rtmlib': 'bharnet_mm.datasets.extraction.rtmlib_estimator:RTMLibEstimator',
}


def estimator_class(backend: str) -> type[Estimator]:
    """The class behind a backend's name. Its layouts and channels are known without building one.

    Args:
        backend: ``mediapipe``, ``rtmlib``, or ``module:Class`` of an own one, which takes
            ``models`` and ``min_score``.

    Raises:
        ConfigError: Unknown.
    """
    module, colon, name = BACKENDS.get(backend, backend).partition(':')
    try:
        if not colon:
            raise ImportError('no such backend')
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            'backend',
            f'{backend!r} ({error})',
            f'one of {sorted(BACKENDS)} or module:Class',
            'choose one of them',
        ) from None


def build_estimator(
    backend: str, models: str | Path | None = None, min_score: float = 0.5
) -> Estimator:
    """Builds a backend.

    Args:
        backend: See ``estimator_class``.
        models: Folder of the model files (rtmlib only; MediaPipe carries its own).
        min_score: A hand of lower confidence is left out.

    Raises:
        ConfigError: Unknown backend, or its package or its model files are missing.
    """
    return estimator_class(backend)(models=models, min_score=min_score)
