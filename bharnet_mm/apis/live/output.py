"""Outputs of a live session: a window, a video file and JSON lines."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np

from ...io.text import to_json
from ..annotate import VideoWriter
from .session import LiveStatistics, LiveUpdate

PAUSE, QUIT = (ord(' '), ord('p')), (ord('q'), 27)
TITLE = 'bharnet live (space: pause, q: quit)'


def has_display() -> bool:
    """Whether a window can be opened here: OpenCV has windows and, on Linux, there is a display."""
    gui = [line for line in cv2.getBuildInformation().splitlines() if 'GUI:' in line]
    if gui and gui[0].split(':')[1].strip().upper() in ('', 'NONE', 'NO'):
        return False
    if not sys.platform.startswith('linux'):
        return True
    return bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))


class Display:
    """A window with the images; keys pause and quit.

    Attributes:
        paused (bool): Whether the image stands still.
        closed (bool): Whether the user has asked to quit.
    """

    def __init__(self) -> None:
        self.paused = self.closed = False
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)

    def show(self, picture: np.ndarray) -> None:
        """Shows an RGB image, unless paused, and reads the keys."""
        if not self.paused:
            cv2.imshow(TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self.read_keys()

    def read_keys(self) -> None:
        """Reads the keys that were pressed; closing the window quits as well."""
        key = cv2.waitKey(1) & 0xFF
        if key in PAUSE:
            self.paused = not self.paused
        if key in QUIT or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            self.closed = True

    def close(self) -> None:
        """Closes the window."""
        cv2.destroyWindow(TITLE)


class VideoOutput:
    """A video file in the session's own time. An image is repeated until the next one.

    A context manager, see :class:`VideoWriter`.

    Args:
        path: File to write.
        fps: Frames per second.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        self._writer = VideoWriter(path, fps)
        self._size: tuple[int, int] | None = None
        self._written = 0
        self._start = 0.0

    def __enter__(self) -> VideoOutput:
        self._writer.__enter__()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._writer.__exit__(*error)

    def write(self, picture: np.ndarray, position: float) -> None:
        """Adds an RGB image that belongs to the time ``position`` (seconds)."""
        size = (picture.shape[1], picture.shape[0])
        if self._size is None:
            self._size, self._start = size, position
        if size != self._size:  # a stream may have another size after an interruption
            picture = cv2.resize(picture, self._size)
        due = round((position - self._start) * self._writer.fps) + 1
        while self._written < due:
            self._writer.write(picture)
            self._written += 1


class JsonLines:
    """One line of JSON for each new answer, and a last one with the statistics.

    Args:
        stream: Stream for the lines.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, update: LiveUpdate) -> None:
        """Writes the answer of an update, if it has one."""
        if update.answer is not None:
            answer = update.answer
            self._line(
                {
                    'from': round(answer.start, 3),
                    'to': round(answer.end, 3),
                    'latency_ms': round(1000 * answer.latency, 1),
                    **answer.prediction.to_dict(),
                }
            )

    def finish(self, statistics: LiveStatistics) -> None:
        """Writes the statistics."""
        self._line({'statistics': statistics.summary()})

    def _line(self, value: dict[str, Any]) -> None:
        self.stream.write(to_json(value, None) + '\n')
        self.stream.flush()
