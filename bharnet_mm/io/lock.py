"""Locks that the system releases when their process ends, for whatever reason."""

from __future__ import annotations

import os
import socket
import weakref
from pathlib import Path
from typing import Any

from ..errors import BHaRNetError, StoreError

_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _let_go() -> None:
    for lock in _held:
        lock.release()


if hasattr(os, 'register_at_fork'):
    # A forked child, such as a data-loader worker, would hold the lock for as long as it lives.
    os.register_at_fork(after_in_child=_let_go)


class FolderLock:
    """The right of one process to write to a folder; held until ``release`` or the process ends.

    Args:
        path: The file of the lock. It is not removed and has no meaning after the release.
        who: Kind of the holder, for the message: ``'writer'``, ``'training'``.
        error: The class that is raised.

    Raises:
        BHaRNetError: Another process holds it, or the system or the file system has no locks.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        who: str = 'writer',
        error: type[BHaRNetError] = StoreError,
    ) -> None:
        self.path = Path(path)
        self._handle: int | None = None
        folder = self.path.parent
        try:
            import fcntl
        except ImportError:
            raise error(
                f'{folder}',
                'a system without file locks (fcntl)',
                'Linux, macOS or WSL',
                'work there; reading works everywhere',
            ) from None
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            owner = os.read(handle, 100).decode(errors='replace') or 'unknown'
            os.close(handle)
            busy = isinstance(problem, BlockingIOError)
            raise error(
                f'{folder}',
                f'another {who} at work (process {owner})' if busy else f'no locks ({problem})',
                f'one {who} at a time',
                'wait until it is done, or use another folder',
            ) from None
        self._handle = handle
        _held.add(self)
        os.ftruncate(handle, 0)
        os.write(handle, f'{os.getpid()} on {socket.gethostname()}'.encode())

    def release(self) -> None:
        """Releases the lock. A second call does nothing."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *problem: Any) -> None:
        self.release()
