"""Reads the newest frame of a camera, a stream or a file in a separate thread."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...errors import ConfigError, SourceError
from ..capture import open_capture

#: Frame rate that is assumed if a file or stream has none.
DEFAULT_FPS = 30.0


@dataclass(frozen=True)
class Frame:
    """One image of a source.

    Attributes:
        image (np.ndarray): RGB ``(H, W, 3)`` uint8.
        number (int): Number of frames that were read before it.
        time (float): When it was read, in seconds of ``time.monotonic()``.
        position (float): Seconds since the first frame; of a file, its own timestamp.
    """

    image: np.ndarray
    number: int
    time: float
    position: float


class LiveSource:
    """Keeps the newest frame of a source. Older frames that were not taken are dropped and counted.

    If a camera or stream fails, it is opened again every ``retry`` seconds. A file is played at its
    own pace, as if it were a camera, and ends.

    Args:
        source: Number of a camera, address of a stream (``rtsp://``, ``http://``) or path of a
            file.
        mirror: Whether to exchange left and right, as front cameras show people.
        retry: Seconds between two attempts to open a source that failed.
        loop: Whether a file begins again when it has ended; its positions go on.

    Raises:
        SourceError: If the source cannot be opened at the start.
        ConfigError: A camera or stream with ``loop``.
    """

    def __init__(
        self,
        source: int | str | Path,
        mirror: bool = False,
        retry: float = 1.0,
        loop: bool = False,
    ) -> None:
        self.source, self.mirror, self.retry = _parse(source), mirror, retry
        self.is_file = isinstance(self.source, str) and '://' not in self.source
        if loop and not self.is_file:
            raise ConfigError('loop', f'the source {source}', 'a file', 'leave loop out')
        self.loop = loop
        self.dropped = 0
        self.connected = True
        self.ended = False
        self.cpu_seconds = 0.0
        self._slot: Frame | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._capture = open_capture(self.source)
        self.fps = _frame_rate(self._capture)
        self._thread = threading.Thread(target=self._read, name='bharnet-live-source', daemon=True)

    def latest(self, timeout: float = 1.0) -> Frame | None:
        """Takes the newest frame. Reading begins with the first call.

        Args:
            timeout: Longest time to wait for one, in seconds.

        Returns:
            None if there was no new frame in that time, or the file has ended.
        """
        if self._thread.ident is None:
            self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._slot is not None or self.ended, timeout)
            frame, self._slot = self._slot, None
            return frame

    def close(self) -> None:
        """Stops reading and frees the camera."""
        self._stop.set()
        if self._thread.ident is None:
            self._capture.release()
        else:
            self._thread.join(timeout=5)

    def __enter__(self) -> LiveSource:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def _read(self) -> None:
        start, number, position, begun = time.monotonic(), 0, 0.0, (0.0, 0)
        while not self._stop.is_set():
            ok, image = self._capture.read()
            if not ok:
                again = self.loop and number > begun[1]  # a file without a frame is not begun again
                if (self.is_file and not again) or not self._reopen(0 if again else self.retry):
                    break
                begun = (position + 1 / self.fps, number)
                continue
            if self.is_file:
                seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if seconds == 0:
                    seconds = (number - begun[1]) / self.fps
                position = max(position, begun[0] + seconds)
                self._stop.wait(max(0.0, start + position - time.monotonic()))
            else:
                position = time.monotonic() - start
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            if self.mirror:
                image = np.ascontiguousarray(image[:, ::-1])
            self._put(Frame(image, number, time.monotonic(), position))
            number += 1
            self.cpu_seconds = time.thread_time()
        self._capture.release()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _put(self, frame: Frame) -> None:
        with self._changed:
            self.dropped += self._slot is not None
            self._slot = frame
            self._changed.notify_all()

    def _reopen(self, wait: float) -> bool:
        """Tries every ``wait`` seconds until the source is back; False if the reader is to stop."""
        self._capture.release()
        self.connected = bool(self.loop)
        while not self._stop.wait(wait):
            try:
                self._capture, self.connected = open_capture(self.source), True
                return True
            except SourceError:
                if self.loop:
                    return False
        return False


def _parse(source: int | str | Path) -> int | str:
    """``0`` and ``'0'`` are cameras; anything else is an address or a path."""
    if isinstance(source, int) or (isinstance(source, str) and source.isdecimal()):
        return int(source)
    return str(source)


def _frame_rate(capture: cv2.VideoCapture) -> float:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return float(fps) if np.isfinite(fps) and 1 <= fps <= 240 else DEFAULT_FPS
