"""Writes videos with skeletons, hands and answers drawn on the frames."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import ConfigError
from ..io.atomic import atomic_write
from ..io.packages import import_package
from .drawing import draw_frame
from .results import Result

_FORMATS = {'.mp4': 'mp4', '.mkv': 'matroska', '.mov': 'mov'}


class VideoWriter:
    """Writes RGB frames of one size to an H.264 video, which every browser plays.

    A context manager. The file gets its name when the block ends without an exception. A folder
    that is missing is made.

    Args:
        path: An ``.mp4``, ``.mkv`` or ``.mov``.
        fps: Frames per second; 30 is used if it is not above 0.

    Raises:
        ConfigError: PyAV is missing, or the path has another ending.
    """

    def __init__(self, path: str | os.PathLike, fps: float) -> None:
        self.path, self.fps = Path(path), fps if fps > 0 else 30.0
        if self.path.suffix.lower() not in _FORMATS:
            raise ConfigError(
                f'{path}',
                f'the ending {self.path.suffix!r}',
                f'one of {", ".join(_FORMATS)}',
                'rename the output',
            )
        self._av = import_package(f'{path}', 'av')

    def __enter__(self) -> VideoWriter:
        with contextlib.ExitStack() as opened:
            file = opened.enter_context(atomic_write(self.path, 'wb'))
            kind = _FORMATS[self.path.suffix.lower()]
            self._container = opened.enter_context(
                contextlib.closing(self._av.open(file, 'w', format=kind))
            )
            self._opened = opened.pop_all()
        self._stream = None
        return self

    def __exit__(self, *error: Any) -> None:
        with self._opened:  # closed even if the disk is full, and then not renamed
            if error[0] is not None:
                raise error[1]
            if self._stream is not None:
                self._container.mux(self._stream.encode())

    def write(self, image: np.ndarray) -> None:
        """Appends a frame (H, W, 3) uint8; an odd last row or column is cut off.

        A frame of another size than the first is scaled to fit into it, with black around it.
        """
        if self._stream is not None:
            image = _fitted(image, self._stream.width, self._stream.height)
        height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        if self._stream is None:
            rate = Fraction(self.fps).limit_denominator(1001)
            self._stream = self._container.add_stream('libx264', rate=rate)
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = 'yuv420p'
        frame = self._av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image[:height, :width]), format='rgb24'
        )
        self._container.mux(self._stream.encode(frame))


def _fitted(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The image in ``(height, width)``, its proportions kept; one row or column more is left."""
    if image.shape[0] - height in (0, 1) and image.shape[1] - width in (0, 1):
        return image
    scale = min(width / image.shape[1], height / image.shape[0])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    out = np.zeros((height, width, 3), np.uint8)
    x, y = (width - size[0]) // 2, (height - size[1]) // 2
    out[y : y + size[1], x : x + size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return out


def write_video(path: str | os.PathLike, results: Sequence[Result]) -> None:
    """Writes the source of the results with everybody and their answers; see ``save_results``."""
    sources = {result.video for result in results}
    first = results[0] if results else None
    if first is None or len(sources) != 1 or first.read_frames is None:
        raise ConfigError(
            f'{path}',
            'no results' if first is None else f'results of {sorted(sources)}',
            'results of one video whose frames can be read again',
            'save the results of each video by themselves',
        )
    start, end = min(r.frame_index[0] for r in results), max(r.frame_index[-1] for r in results)
    span = max(first.end - first.start, 1e-6)
    with VideoWriter(path, len(first.frame_index) / span) as writer:
        for number, image in first.read_frames():
            if number > end:
                break
            if number >= start:
                writer.write(annotate(image, number, results))


def annotate(image: np.ndarray, number: int, results: Sequence[Result]) -> np.ndarray:
    """A copy of a frame on which everybody and the answers are drawn."""
    here: dict[int | None, Result] = {}
    for result in results:
        if not result.frame_index[0] <= number <= result.frame_index[-1]:
            continue
        other = here.get(result.person)
        if other is None or _off_middle(result, number) < _off_middle(other, number):
            here[result.person] = result
    skeletons, lines = [], []
    for person, result in sorted(here.items(), key=lambda item: item[0] or 0):
        place = np.flatnonzero(result.frame_index == number)
        if len(place):
            skeletons += result.skeletons(int(place[0]))
        own = result.lines()
        lines += [f'person {person}: {own[0]}', *own[1:]] if len(here) > 1 else own
    return draw_frame(image, skeletons, lines)


def _off_middle(result: Result, number: int) -> float:
    return abs(number - (result.frame_index[0] + result.frame_index[-1]) / 2)
