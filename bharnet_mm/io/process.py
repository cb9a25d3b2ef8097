"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import threading
import time


def die_with(process: int | None = None) -> None:
    """Kills this process when another one ends, even if that one is killed.

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
