"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import resource_tracker
from typing import Any


def processors() -> int:
    """How many processors this process may use. A container often has fewer than the machine."""
    affinity = getattr(os, 'sched_getaffinity', None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def die_with(process: int | None = None) -> None:
    """Kills this process when another one ends, even if that one is killed, and leaves Ctrl-C,
    which reaches both, to the other one.

    Call it first in a child, with the ``os.getpid()`` of the process that started it; without it,
    that is the process that ``multiprocessing`` knows as the parent. The kernel's
    signal for this (PR_SET_PDEATHSIG) cannot be used. It depends on the *thread* that made the
    child, and the parent of a fork server's child is the server.
    """
    if process is None:
        parent = multiprocessing.parent_process()
        if parent is None:
            raise ValueError('this process was not started by multiprocessing')
        process = parent.pid
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(process,), daemon=True).start()


def _follow(process: int) -> None:
    try:
        handle = os.pidfd_open(process)
        select.select([handle], [], [])
    except (AttributeError, OSError):  # it has ended, or there are no such handles: look
        while _lives(process):
            time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def unheard(fresh: bool = True) -> Iterator[None]:
    """Processes that are started in the block do not hear of Ctrl-C, even while they begin.

    They would end with a traceback, or before the one that started them has put its work in order.

    Args:
        fresh: Whether they are new processes of Python, and no forks of this one.
    """
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    if fresh:  # else multiprocessing starts its tracker in the block, and lifts the block
        resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Pool(ProcessPoolExecutor):
    """Starts its processes where :func:`unheard` covers it."""

    def submit(self, *arguments: Any, **options: Any) -> Future:
        with unheard(self._mp_context.get_start_method() != 'fork'):
            return super().submit(*arguments, **options)


@contextlib.contextmanager
def worker_pool(workers: int, context: Any = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that end with this one, and at once where an exception ends the block.

    Args:
        workers: How many.
        context: Of ``multiprocessing``; by default the system's.
    """
    pool = _Pool(workers, mp_context=context, initializer=die_with)
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()  # what waits for them ends too, as the pool is broken then
        raise
    finally:
        pool.shutdown()


@contextlib.contextmanager
def thread_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads whose waiting work is left out where an exception ends the block.

    The processes that its threads wait for are killed then, since the block would otherwise not
    end before they do.
    """
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_children()
            raise


def end_children() -> None:
    """Kills the processes that this one has started through ``multiprocessing``."""
    children = multiprocessing.active_children()
    for child in children:
        child.kill()
    for child in children:
        child.join(5)
