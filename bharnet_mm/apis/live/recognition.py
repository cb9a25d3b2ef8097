"""Recognition in a separate process, so that it does not delay the camera."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from ...datasets.clip import Clip
from ...engine.kept_warnings import keep_warnings
from ...errors import BHaRNetError, SourceError
from ...io.process import die_with, unheard
from ..model_card import ModelCard
from ..region_grids import Grid


class Recognizer(Protocol):
    """Interface of a model for live use."""

    classes: list[str]
    window: float  # seconds of a clip, as the model was trained

    def predict(self, clips: list[Clip], *, grids: Any = None) -> list[Any]:
        """One prediction for each clip."""


@dataclass(frozen=True)
class Answer:
    """A prediction for a window of frames.

    Attributes:
        prediction: Result of the recognizer.
        start, end (float): The window, in seconds of the source.
        asked (float): When the newest frame of the window was read (``time.monotonic()``).
        latency (float): Seconds from then to the answer.
        cpu_seconds (float): Processor time of the recognition.
    """

    prediction: Any
    start: float
    end: float
    asked: float
    latency: float
    cpu_seconds: float


class RecognitionProcess:
    """Sends windows to a model in another process, one at a time and without a queue.

    Args:
        build: Builds the model in the other process. It is pickled, so it is a function of a module
            or a ``functools.partial`` of one.
    """

    def __init__(self, build: Callable[[], Recognizer]) -> None:
        context = multiprocessing.get_context('spawn')
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, build), daemon=True)
        with unheard():
            self._process.start()
        other.close()
        self._busy = True  # until the model is built
        self._asked: tuple[float, float, float] | None = None
        self.window: float | None = None
        self.classes: list[str] = []
        self.card: ModelCard | None = None
        self.cpu_seconds = 0.0

    @property
    def pid(self) -> int:
        """Id of the other process."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether the model is built and waits for a window."""
        return not self._busy

    def wait_until_ready(self, timeout: float = 120.0) -> None:
        """Waits until the model is built.

        Raises:
            BHaRNetError: The model cannot be built, or takes longer than ``timeout`` seconds.
        """
        if self._busy and self._asked is None:
            if not self._connection.poll(timeout):
                raise SourceError(
                    'recognition', f'no model after {timeout:g} s', 'a model', 'try again'
                )
            self._receive()

    def offer(
        self, clip: Clip, start: float, end: float, asked: float, grid: Grid | None = None
    ) -> bool:
        """Sends a window unless the last one is not finished. Returns whether it was sent."""
        if self._busy:
            return False
        self._connection.send((clip, grid))
        self._busy, self._asked = True, (start, end, asked)
        return True

    def poll(self) -> Answer | None:
        """The answer to the last window if it is there.

        Raises:
            BHaRNetError: The model failed, or its process ended.
        """
        if not self._busy or not self._connection.poll():
            if not self._process.is_alive() and not self._connection.poll():
                raise self._died()
            return None
        return self._receive()

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join(timeout=2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _receive(self) -> Answer | None:
        try:
            kind, value, cpu_seconds = self._connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        self._busy = False
        if kind == 'error':
            raise value
        if kind == 'ready':
            self.classes, self.window, self.card = value
            return None
        self.cpu_seconds += cpu_seconds
        start, end, asked = self._asked
        return Answer(value, start, end, asked, time.monotonic() - asked, cpu_seconds)

    def _died(self) -> BHaRNetError:
        self._process.join(timeout=2)
        return SourceError(
            'recognition',
            f'its process ended with status {self._process.exitcode}',
            'a running process',
            'start again; if it ends again, the machine may be short of memory',
        )


def _work(connection: Connection, build: Callable[[], Recognizer]) -> None:
    """The other process: builds the model, then answers windows until the connection closes."""
    die_with()
    keep_warnings()
    os.environ.setdefault('OMP_NUM_THREADS', '1')  # the camera's process needs the other cores
    try:
        recognizer = build()
        card = getattr(recognizer, 'card', None)
        connection.send(('ready', (list(recognizer.classes), recognizer.window, card), 0.0))
        while True:
            clip, grid = connection.recv()
            start = time.process_time()
            prediction = recognizer.predict([clip], grids=[grid])[0]
            connection.send(('answer', prediction, time.process_time() - start))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the other side has ended
    except BHaRNetError as error:
        connection.send(('error', error, 0.0))
