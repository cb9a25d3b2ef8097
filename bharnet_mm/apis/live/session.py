"""A live session: source, pose, hands and recognition, one update for each processed frame."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ...datasets.extraction.estimators import BodyPose, Estimator, HandPose
from ...datasets.extraction.tracking import BodyHandTracker
from ...errors import ConfigError
from ...layouts import get_layout
from ..region_grids import GridCutter, cutter_of
from .recognition import Answer, RecognitionProcess, Recognizer
from .source import Frame, LiveSource
from .window import SlidingWindow, Step

#: Frames whose latencies are kept: an hour at 28 frames per second.
RECENT = 100_000


@dataclass
class LiveStatistics:
    """Rates, latencies and CPU time of a session.

    Latency is the time from reading a frame until it is processed, in seconds. ``started`` is when
    the models were loaded and the source was asked for its first frame (``time.monotonic()``), and
    ``ended`` when the session was closed, before it waited for the other process.
    """

    processed: int = 0
    dropped: int = 0
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    answers: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    ends: deque[float] = field(default_factory=lambda: deque(maxlen=30))
    cpu_seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(('source', 'pose and hands', 'recognition'), 0.0)
    )

    memory_mb: list[tuple[float, float]] = field(default_factory=list)

    def note_memory(self, pids: Iterable[int], every: float = 10.0) -> None:
        """Adds seconds since the start and the memory in use (resident, MB) of these processes.

        Args:
            pids: Of the processes.
            every: Seconds from one entry to the next; a call in between does nothing. Without
                ``/proc`` nothing is added.
        """
        now = time.monotonic() - self.started
        if self.memory_mb and now - self.memory_mb[-1][0] < every:
            return
        used = [_resident_mb(pid) for pid in pids]
        if None not in used:
            self.memory_mb.append((round(now, 1), round(sum(used), 1)))

    @property
    def fps(self) -> float:
        """Processed frames per second, over the last ones."""
        span = self.ends[-1] - self.ends[0] if len(self.ends) > 1 else 0.0
        return (len(self.ends) - 1) / span if span > 0 else 0.0

    def summary(self) -> dict:
        """Everything as plain numbers."""
        seconds = (self.ended or time.monotonic()) - self.started
        total = sum(self.cpu_seconds.values()) or 1.0
        return {
            'seconds': seconds,
            'frames': self.processed,
            'dropped': self.dropped,
            'frames_per_second': self.processed / seconds if seconds else 0.0,
            'latency_ms': _percentiles(self.latencies),
            'answer_latency_ms': _percentiles(self.answers),
            'cpu_seconds': dict(self.cpu_seconds),
            'cpu_share': {name: value / total for name, value in self.cpu_seconds.items()},
            'memory_mb': list(self.memory_mb),
        }


@dataclass(frozen=True)
class LiveUpdate:
    """The state of a session after one frame.

    Attributes:
        frame (Frame | None): None while the source is away.
        bodies, hands (dict): Bodies and hands in it, see :class:`BodyHandTracker`.
        answer (Answer | None): A new answer of the recognition, if one has come.
        last (Answer | None): The newest answer so far, without answers from before an interruption.
        statistics (LiveStatistics): Statistics of the session so far.
    """

    frame: Frame | None
    bodies: dict[int, BodyPose]
    hands: dict[tuple[int, int], HandPose]
    answer: Answer | None
    last: Answer | None
    statistics: LiveStatistics


class LiveSession:
    """A live session. Iterating over it gives a :class:`LiveUpdate` for each processed frame.

    Pose and hands are found in this process, each frame at most once; recognition of the last
    ``window`` seconds runs in another one. If processing takes longer than the time between two
    frames, frames are dropped, so latency does not grow.

    Args:
        source: The opened source.
        estimator: Finds bodies and hands.
        build: Builds the model in the other process, see :class:`RecognitionProcess`.
        window: Seconds that are recognized together; by default those of the model.
        stride: Seconds between two recognitions.

    Raises:
        ConfigError: ``window`` or ``stride`` is not above 0.
    """

    def __init__(
        self,
        source: LiveSource,
        estimator: Estimator,
        build: Callable[[], Recognizer],
        window: float | None = None,
        stride: float = 0.5,
    ) -> None:
        for name, value in (('window', window), ('stride', stride)):
            if value is not None and not value > 0:
                raise ConfigError('LiveSession', f'{name}={value}', 'seconds above 0')
        self.source, self.estimator, self.stride = source, estimator, stride
        self.statistics = LiveStatistics()
        self._tracker = BodyHandTracker(estimator)
        self._recognition = RecognitionProcess(build)
        self._seconds = window
        self._cutter: GridCutter | None = None  # for a model with an rgb expert

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Ends the recognition and frees the source."""
        self.statistics.ended = self.statistics.ended or time.monotonic()
        self._recognition.close()
        self.source.close()

    def __iter__(self) -> Iterator[LiveUpdate]:
        # The estimator loads its models at its first image. It gets one before the source starts,
        # so no frame waits.
        self._tracker.step(np.zeros((480, 640, 3), np.uint8))
        self._tracker.reset()
        self._recognition.wait_until_ready()
        card = self._recognition.card
        self._cutter = None if card is None else cutter_of(card)
        window = SlidingWindow(self._seconds or self._recognition.window)
        self.statistics.started = time.monotonic()
        newest: Frame | None = None
        last, asked, away, since = None, -np.inf, False, 0.0
        while True:
            frame = self.source.latest(timeout=0.5)
            answer = self._recognition.poll()
            if answer is not None and (away or answer.asked < since):
                answer = None  # it is from before the interruption
            if answer is not None:
                last = answer
                self.statistics.answers.append(answer.latency)
            if frame is None:
                if self.source.ended:
                    break
                if not self.source.connected and not away:
                    away, last = True, None
                    self._forget(window)
                yield LiveUpdate(None, {}, {}, None, last, self.statistics)
                continue
            if away:
                away, since = False, frame.time
            elif newest is not None and newest.image.shape != frame.image.shape:
                last, since = None, frame.time  # the camera was turned, or set to another size
                self._forget(window)
            bodies, hands = self._find(frame)
            newest = frame
            kept = None if self._cutter is None else frame.image
            window.add(Step(frame.position, frame.time, bodies, hands, kept))
            if frame.position - asked >= self.stride and window.filled >= 0.5:
                if self._ask(window, frame):
                    asked = frame.position
            yield LiveUpdate(frame, bodies, hands, answer, last, self.statistics)
        if newest is not None and newest.position == asked:
            newest = None  # the last window has been asked for
        yield from self._final_answers(window, newest)

    def _forget(self, window: SlidingWindow) -> None:
        """Tracks do not continue after an interruption, nor in images of another size."""
        window.clear()
        self._tracker.reset()

    def _find(self, frame: Frame) -> tuple[dict, dict]:
        start = time.process_time() - self.source.cpu_seconds
        bodies, hands = self._tracker.step(frame.image)
        statistics, now = self.statistics, time.monotonic()
        statistics.cpu_seconds['pose and hands'] += (
            time.process_time() - self.source.cpu_seconds - start
        )
        statistics.cpu_seconds['source'] = self.source.cpu_seconds
        statistics.cpu_seconds['recognition'] = self._recognition.cpu_seconds
        statistics.processed += 1
        statistics.dropped = self.source.dropped
        statistics.latencies.append(now - frame.time)
        statistics.ends.append(now)
        statistics.note_memory((os.getpid(), self._recognition.pid))
        return bodies, hands

    def _ask(self, window: SlidingWindow, frame: Frame) -> bool:
        """Sends the window to the recognition if that is free and the window has a person."""
        if not self._recognition.ready:
            return False
        clip = window.clip((frame.image.shape[1], frame.image.shape[0]), self.estimator)
        if clip is None:
            return False
        grid = None
        if self._cutter is not None:
            estimator = self.estimator
            channels = {'body': estimator.body_channels, 'hand': estimator.hand_channels}
            layout = get_layout(estimator.body_layout)
            grid = self._cutter.cut(clip, layout, channels, window.images)
        return self._recognition.offer(clip, window.start, frame.position, frame.time, grid)

    def _final_answers(self, window: SlidingWindow, newest: Frame | None) -> Iterator[LiveUpdate]:
        """At the end of a file: the pending answer, and one for the last window."""
        pending = newest is not None and window.filled >= 0.5
        limit = time.monotonic() + 10
        while (pending or not self._recognition.ready) and time.monotonic() < limit:
            answer = self._recognition.poll()
            if answer is not None:
                self.statistics.answers.append(answer.latency)
                yield LiveUpdate(None, {}, {}, answer, answer, self.statistics)
            elif self._recognition.ready:
                self._ask(window, newest)
                pending = False
            else:
                time.sleep(0.005)
        self.statistics.cpu_seconds['recognition'] = self._recognition.cpu_seconds


def _resident_mb(pid: int) -> float | None:
    """Resident memory of a process; None where the system does not say."""
    try:
        with open(f'/proc/{pid}/statm') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6
    except OSError:
        return None


def _percentiles(values: deque[float]) -> dict[str, float] | None:
    if not values:
        return None
    p50, p99 = np.percentile(np.array(values) * 1000, [50, 99])
    return {'p50': float(p50), 'p99': float(p99)}
