"""A folder of files that only grow, and one description. Replacing it commits what was added.

Clip stores and region stores are such folders. Bytes that the description does not cover were
written by a process that ended before its commit. They are removed at the next opening for writing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import StoreError, WriteError
from ...io.atomic import atomic_write, remove_left_overs
from ...io.lock import FolderLock
from ...io.text import to_json
from .format import LOCK_FILE


class AppendOnlyFolder:
    """The files of a store during writing, locked against other writers.

    Args:
        path: The folder, made if needed.
        meta_file: Name of the description.

    Raises:
        StoreError: Another process is writing.
    """

    def __init__(self, path: str | os.PathLike, meta_file: str) -> None:
        self.path, self.meta_file = Path(path), meta_file
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(self.path / LOCK_FILE)
        self._files: dict[str, int] = {}
        self._failed = False
        remove_left_overs(self.path)

    def open(self, sizes: Mapping[str, int]) -> None:
        """Opens the files and cuts each to its committed size."""
        for name, size in sizes.items():
            handle = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._files[name] = handle
            os.ftruncate(handle, size)
            os.lseek(handle, size, os.SEEK_SET)

    def append(self, parts: Mapping[str, bytes | memoryview]) -> None:
        """Appends to several files; readers see it only after ``commit``.

        Raises:
            StoreError: The data could not be written. The folder must then be opened again.
        """
        self.check_open()
        try:
            for name, data in parts.items():
                rest = memoryview(data).cast('B')
                while rest:
                    rest = rest[os.write(self._files[name], rest) :]
        except OSError as error:
            self._fail(error)

    def commit(self, meta: Mapping[str, Any]) -> None:
        """Flushes the files to disk, then replaces the description, so that all or nothing is
        visible.

        Raises:
            StoreError: The data could not be written; the last commit is unchanged.
        """
        self.check_open()
        try:
            for handle in self._files.values():
                os.fsync(handle)
            with atomic_write(self.path / self.meta_file) as stream:
                stream.write(to_json(meta))
        except (OSError, WriteError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failed = True
        raise StoreError(
            f'{self.path}',
            f'a disk that refused the data ({error})',
            'room for the clips',
            'free disk space and continue: the last commit stands',
        ) from error

    def close(self) -> None:
        """Closes the files and releases the lock. Data that was not committed is lost."""
        handles, self._files = list(self._files.values()), {}
        try:
            for handle in handles:
                try:
                    os.close(handle)
                except OSError:  # it is closed anyway, and uncommitted data does not count
                    pass
        finally:
            self._lock.release()

    def check_open(self) -> None:
        """Raises StoreError unless the files are open and all writes went well."""
        if not self._files or self._failed:
            raise StoreError(
                f'{self.path}',
                'a writer whose last write failed' if self._failed else 'a writer that is closed',
                'an open writer',
                'open a new writer that continues the store',
            )
