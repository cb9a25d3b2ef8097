"""The interface of pose estimators."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...errors import ConfigError
from ...io.packages import check_installed

LEFT, RIGHT = 0, 1
#: For so many frames at most an estimator may keep a hand while the image around it is the same.
MAX_KEPT = 5


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
        right: Probability that it is a right hand; 0.5 if the estimator cannot tell.
        view: Data of the estimator, which it gets back with ``Arm.last`` in the next frames.
    """

    points: np.ndarray
    score: float
    right: float = 0.5
    view: Any = None


@dataclass(eq=False)
class Arm:
    """An arm whose hand is wanted.

    Args:
        wrist, elbow: Pixels, ``(2,)``; the elbow is NaN if it is unknown.
        size: Length of the forearm without foreshortening, in pixels.
        knuckles: Middle of the finger bases as the body estimator sees them, ``(2,)`` pixels; NaN
            if it does not give them.
        reliable: Whether the body estimator is sure of the wrist.
        previous: Expected joints of the last hand of this arm, moved with the wrist: ``(21, 2 or
            3)`` pixels, or None.
        person, side: Number of the person, and ``LEFT`` or ``RIGHT``.
        last: The last hand of this arm, as it was found, or None.
        lost: Number of frames since then.
        rivals: All arms in the image, with this one. A hand that is nearer to another arm does not
            belong to this one.
        search: Number of this search for a lost hand, from 1; 0 if the hand is only followed.
        notes: What the estimator remembers about the searches for this hand. It gets them back in
            the next frames until the hand is found.
    """

    wrist: np.ndarray
    elbow: np.ndarray
    size: float
    reliable: bool = True
    knuckles: np.ndarray = field(default_factory=lambda: np.full(2, np.nan))
    previous: np.ndarray | None = None
    person: int = 0
    side: int = LEFT
    last: HandPose | None = None
    lost: int = 0
    rivals: Sequence[Arm] = ()
    search: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


class Estimator(Protocol):
    """Finds bodies and hands in images. There is one instance in each process. The three attributes
    belong to the class.

    It may also have ``packages``, the names of the packages that it needs; the version of the first
    one is stored with the clips. It may also have ``bodies_in(image, box) -> list[BodyPose]``:
    bodies inside ``box`` (x0, y0, x1, y1 in pixels), independent of earlier frames. It is used to
    check a known skeleton's wrists, and to find a second person in a plain video.
    """

    body_layout: str
    body_channels: tuple[str, ...]
    hand_channels: tuple[str, ...]

    def start(self) -> None:
        """Prepares for a new video by forgetting the last one."""

    def bodies(self, image: np.ndarray) -> list[BodyPose]:
        """Bodies of one RGB frame ``(H, W, 3)`` uint8; called once for each frame, in order."""

    def hands(
        self, image: np.ndarray, arms: list[Arm], taken: Sequence[HandPose] = ()
    ) -> list[HandPose]:
        """Hands near the arms in the same frame, in any order; one hand may occur several times.

        It is called a few times for each frame: first for hands that are followed, then for arms
        whose hand is searched (their ``search`` is 1 or more), besides the hands ``taken``. An
        estimator that finds all hands at once may give the same answer to all calls.

        Args:
            image: The frame.
            arms: Arms whose hands are wanted.
            taken: Hands that are known already. Others are wanted, beside or behind them.
        """


BACKENDS = {
    'mediapipe': 'bharnet_mm.datasets.extraction.mediapipe_estimator:MediaPipeEstimator',
    'rtmlib': 'bharnet_mm.datasets.extraction.rtmlib_estimator:RTMLibEstimator',
}


def estimator_class(backend: str) -> type[Estimator]:
    """The class of a backend. It has layouts and channels without an instance.

    Args:
        backend: ``mediapipe``, ``rtmlib``, or ``module:Class`` of your own class, which takes
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


def check_backend(backend: str) -> None:
    """Checks without importing them that a backend's packages are installed.

    Raises:
        ConfigError: The backend is unknown, or a package of it is missing.
    """
    check_installed(f'backend {backend}', *getattr(estimator_class(backend), 'packages', ()))


def build_estimator(
    backend: str, models: str | Path | None = None, min_score: float = 0.5
) -> Estimator:
    """Builds a backend.

    Args:
        backend: See ``estimator_class``.
        models: Folder of the model files (rtmlib only; MediaPipe has its own).
        min_score: A hand of lower confidence is left out.

    Raises:
        ConfigError: Unknown backend, or its package or its model files are missing.
    """
    return estimator_class(backend)(models=models, min_score=min_score)
