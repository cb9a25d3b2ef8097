"""Results of the inferencer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError
from ..io.atomic import write_json
from ..layouts import SkeletonLayout, get_layout

if TYPE_CHECKING:
    from .drawing import Skeleton

_MIN_JOINT_SCORE = 0.5  # joints below it are guessed by the estimator


@dataclass(frozen=True)
class Label:
    """A class and its probability."""

    name: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction of a recognizer for one clip.

    Attributes:
        labels: The most probable classes, best first, with calibrated probabilities.
        experts: The same for each expert alone; empty if it is absent.
        unsure: Whether the model is not sure enough of any label.
        reason: Why it is unsure, otherwise empty.
        none: Whether the best label means that no action is shown.
        notes: Further remarks, such as that the rgb expert had no image.
    """

    labels: tuple[Label, ...]
    experts: dict[str, tuple[Label, ...]]
    unsure: bool
    reason: str = ''
    none: bool = False
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The best label's name, or ``'unsure'``."""
        return 'unsure' if self.unsure else self.labels[0].name

    def lines(self) -> list[str]:
        """The prediction as short lines of text: the answer, then that of each expert."""
        best = self.labels[0]
        first = f'{best.name} {best.probability:.0%}'
        out = [f'unsure ({first}?)' if self.unsure else first]
        for name, labels in self.experts.items():
            said = f'{labels[0].name} {labels[0].probability:.0%}' if labels else 'nothing seen'
            out.append(f'{name}: {said}')
        return out

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain data, without the skeletons."""

        def pairs(labels: Iterable[Label]) -> list[dict[str, Any]]:
            return [{'label': a.name, 'probability': round(a.probability, 6)} for a in labels]

        return {
            'label': self.label,
            'unsure': self.unsure,
            'reason': self.reason,
            'none': self.none,
            'notes': list(self.notes),
            'labels': pairs(self.labels),
            'experts': {name: pairs(labels) for name, labels in self.experts.items()},
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Result(Prediction):
    """The prediction for one person in one window of a video.

    Attributes:
        video: Path, address or name of the source.
        start, end: Seconds from the beginning of the source.
        person: Number of the person in the source, or None if all were judged together.
        frame_index: Numbers of the window's frames in the source, (T,).
        body: Pixels of the body's joints, (T, V, 2); NaN in frames without the person. If the store
            has no pixels, its own coordinates.
        body_score: Confidence of the body in each frame, (T,), 0 where missing.
        joint_score: Confidence of each joint, (T, V); None if the estimator gives none.
        hand: Pixels of the left and the right hand, (2, T, 21, 2); NaN if missing.
        hand_score: (2, T), 0 where missing.
        layout: Layout of the body.
    """

    video: str
    start: float
    end: float
    person: int | None
    frame_index: np.ndarray
    body: np.ndarray
    body_score: np.ndarray
    hand: np.ndarray
    hand_score: np.ndarray
    layout: SkeletonLayout
    joint_score: np.ndarray | None = None
    read_frames: Callable[[], Iterator[tuple[int, np.ndarray]]] | None = field(
        default=None, repr=False
    )

    def __repr__(self) -> str:
        best = self.labels[0]
        return (
            f'Result({self.video!r}, {self.start:.2f}-{self.end:.2f} s, person {self.person}, '
            f'{self.label!r}, best {best.name!r} {best.probability:.3f})'
        )

    def to_dict(self) -> dict[str, Any]:
        """The prediction, its time in the video and the visible shares of frames, as plain data."""
        hands = (self.hand_score > 0).mean(axis=1) if self.hand_score.size else np.zeros(2)
        return {
            'video': self.video,
            'start': round(self.start, 3),
            'end': round(self.end, 3),
            'first_frame': int(self.frame_index[0]),
            'last_frame': int(self.frame_index[-1]),
            'person': self.person,
            **super().to_dict(),
            'visible': {
                'body': round(float((self.body_score > 0).mean()), 3),
                'left_hand': round(float(hands[0]), 3),
                'right_hand': round(float(hands[1]), 3),
            },
        }

    def plot(self, frame: np.ndarray, number: int | None = None) -> np.ndarray:
        """Draws the person, both hands and the answer on a frame.

        Args:
            frame: RGB (H, W, 3) uint8.
            number: The frame's number in the source. Defaults to the middle one of the window.

        Returns:
            A new image.

        Raises:
            ConfigError: The frame is no image, or is not in this window.
        """
        from .drawing import draw_frame

        middle = int(self.frame_index[len(self.frame_index) // 2])
        t = self.find(middle if number is None else number)
        return draw_frame(frame, self.skeletons(t), self.lines())

    def find(self, number: int) -> int:
        """Index in this window of a frame of the source."""
        place = np.flatnonzero(self.frame_index == number)
        if not len(place):
            raise ConfigError(
                f'{self.video}, frame {number}',
                f'a result for the frames {self.frame_index[0]} to {self.frame_index[-1]}',
                'one of these frames',
                'use the result whose window has this frame',
            )
        return int(place[0])

    def skeletons(self, t: int) -> list[Skeleton]:
        """Body and hands in the window's frame ``t``, for drawing."""
        from .drawing import SIDES, Skeleton

        found = []
        if self.body_score[t] > 0:
            body = self.body[t].astype(np.float64)
            if self.joint_score is not None:
                body[self.joint_score[t] < _MIN_JOINT_SCORE] = np.nan
            found.append(Skeleton(body, self.layout))
        for side, name in enumerate(SIDES):
            if self.hand_score[side, t] > 0:
                found.append(Skeleton(self.hand[side, t], get_layout('hand'), name))
        return found

    def save(self, video: str | os.PathLike | None = None, json: str | None = None) -> None:
        """Writes this window as an annotated video, its prediction as JSON, or both.

        See :func:`save_results`.
        """
        save_results([self], video, json)


def save_results(
    results: Iterable[Result],
    video: str | os.PathLike | None = None,
    json: str | os.PathLike | None = None,
    model: str = '',
    complete: bool = True,
) -> None:
    """Writes results of one source as an annotated video, as JSON, or both.

    In the video each frame shows everybody who was found in it, with the answer of the window whose
    middle is nearest.

    Args:
        results: Results of one source, in any order.
        video: Path of an ``.mp4`` to write; needs PyAV.
        json: Path of a JSON file to write.
        model: Name of the model, for the JSON file.
        complete: Whether these are all results. Otherwise the JSON file has ``"complete": false``.

    Raises:
        ConfigError: No results, results of several sources in one video, or a source whose frames
            cannot be read again (a camera).
    """
    results = list(results)
    if video is not None:
        from .annotate import write_video

        write_video(video, results)
    if json is not None:
        content = {'model': model} | ({} if complete else {'complete': False})
        content['results'] = [result.to_dict() for result in results]
        write_json(json, content)


def as_result(prediction: Prediction, **place: Any) -> Result:
    """A prediction with its place in a source."""
    said = {item.name: getattr(prediction, item.name) for item in fields(Prediction)}
    return Result(**said, **place)
