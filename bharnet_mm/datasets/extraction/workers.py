"""Worker processes, replaced if a broken video makes them hang, crash or exhaust memory."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

import cv2

from ...errors import BHaRNetError
from ...io.process import die_with, unheard

_AHEAD = 4  # finished results per worker that may wait for an earlier one
_START_SECONDS = 300.0  # for imports and models, on a busy machine


@dataclass
class Failure:
    """The failure of a job."""

    reason: str
    detail: str = ''


def run_jobs(
    build: Callable[[], Callable[[Any, Callable[[], None]], Any]],
    jobs: Sequence[Any],
    workers: int,
    timeout: float,
    retry: Callable[[Any], Any | None] = lambda job: None,
) -> Iterator[Any]:
    """Yields results in the order of the jobs.

    Args:
        build: Called once in each process. It gives the function for the jobs, ``do(job, tick) ->
            result``, which calls ``tick()`` regularly. Picklable. An error of this package that a
            job raises is its ``Failure``; an error in ``build`` ends everything.
        jobs: Picklable.
        workers: Processes; 0 works in this one, without a guard against hanging.
        timeout: Seconds without a ``tick`` after which a process is ended and its job fails.
        retry: Gives another form of a job whose process hung or crashed, or None.

    Yields:
        The results, or ``Failure``.
    """
    if workers <= 0:
        do = build()
        for job in jobs:
            yield _guarded(do, job, lambda: None)
        return
    pool = _Pool(build, min(workers, len(jobs)), timeout)
    try:
        yield from _schedule(pool, list(jobs), retry)
    finally:
        pool.close()


def _schedule(pool: _Pool, jobs: list, retry: Callable) -> Iterator[Any]:
    done: dict[int, Any] = {}
    given = following = 0
    again: list[int] = []
    while following < len(jobs):
        while pool.idle and (
            again or (given < len(jobs) and given < following + _AHEAD * pool.size)
        ):
            number = again.pop(0) if again else given
            given += number == given
            pool.give(number, jobs[number])
        for number, outcome, lost in pool.collect():
            other = retry(jobs[number]) if lost else None
            if other is not None:
                jobs[number] = other
                again.append(number)
            else:
                done[number] = outcome
        while following in done:
            yield done.pop(following)
            following += 1


class _Pool:
    def __init__(self, build: Callable, size: int, timeout: float) -> None:
        self.build, self.size, self.timeout = build, size, timeout
        # Processes are not forked from here, where libraries may have started threads, but from a
        # server that has only imported modules.
        self.context = multiprocessing.get_context('forkserver')
        self.context.set_forkserver_preload([__name__])
        self.members = [_Member(self) for _ in range(size)]

    @property
    def idle(self) -> bool:
        return any(member.job is None for member in self.members)

    def give(self, number: int, job: Any) -> None:
        member = next(member for member in self.members if member.job is None)
        member.job, member.heard = number, time.monotonic()
        try:
            member.pipe.send(job)
        except OSError:  # it died in the meantime, which collect() notices
            pass

    def collect(self) -> Iterator[tuple[int, Any, bool]]:
        """Waits a moment; yields (job number, outcome, whether the process was lost)."""
        ready = wait([member.pipe for member in self.members], timeout=1.0)
        for i, member in enumerate(self.members):
            message: tuple | None = None
            try:
                while member.pipe in ready and member.pipe.poll():
                    message = member.pipe.recv()
                    member.heard, member.started = time.monotonic(), True
                    if message[0] != 'tick':
                        break
            except (EOFError, OSError):
                yield from self._replace(i, 'the process that read it crashed')
                continue
            if message and message[0] == 'fatal':
                raise message[1]
            if message and message[0] == 'done':
                number, member.job = member.job, None
                yield number, message[1], False
                continue
            limit = self.timeout if member.started else max(self.timeout, _START_SECONDS)
            if member.job is not None and time.monotonic() - member.heard > limit:
                yield from self._replace(i, f'no progress for {limit:g} seconds')

    def _replace(self, i: int, why: str) -> Iterator[tuple[int, Any, bool]]:
        member = self.members[i]
        member.end()
        if not member.started:
            raise BHaRNetError(
                'worker process',
                why,
                'that it starts',
                'see its output above; try --workers 0 to run in one process',
            )
        self.members[i] = _Member(self)
        if member.job is not None:
            yield member.job, Failure(why), True

    def close(self) -> None:
        for member in self.members:
            member.end()


class _Member:
    def __init__(self, pool: _Pool) -> None:
        self.job: int | None = None
        self.started = False
        self.heard = time.monotonic()
        self.pipe, other = pool.context.Pipe()
        self.process = pool.context.Process(
            target=_work, args=(other, pool.build, os.getpid()), daemon=True
        )
        # There is one process for each core, so threads of libraries would only slow each other
        # down.
        before = os.environ.get('OMP_NUM_THREADS')
        os.environ['OMP_NUM_THREADS'] = '1'
        try:
            with unheard():
                self.process.start()
        finally:
            if before is None:
                del os.environ['OMP_NUM_THREADS']
            else:
                os.environ['OMP_NUM_THREADS'] = before
        other.close()

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(pipe: Any, build: Callable, parent: int) -> None:
    die_with(parent)
    cv2.setNumThreads(1)
    try:
        do = build()
    except BHaRNetError as error:
        pipe.send(('fatal', error))
        return
    last = time.monotonic()
    pipe.send(('tick',))

    def tick() -> None:
        nonlocal last
        if time.monotonic() - last > 0.5:
            last = time.monotonic()
            pipe.send(('tick',))

    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(('done', _guarded(do, job, tick)))


def _guarded(do: Callable, job: Any, tick: Callable) -> Any:
    try:
        return do(job, tick)
    except BHaRNetError as error:
        return Failure(error.found.split(' (')[0] or type(error).__name__, str(error))
    except OSError as error:
        return Failure('cannot be read', str(error))
