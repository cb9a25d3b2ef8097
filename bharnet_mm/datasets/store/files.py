"""The files of a store as they are read, which somebody may cut off or remove meanwhile."""

from __future__ import annotations

import mmap
import os
import weakref
from pathlib import Path

import numpy as np

from ...errors import StoreError

_FIX = 'the file was cut off or lost: restore it from a copy, or convert the store again'


class StoreFile:
    """The committed bytes of a file, opened for reading.

    A part is copied by :meth:`read`. The whole is mapped into memory by :meth:`whole`, for the
    index, which is searched at once. To touch a mapped byte behind the end of a file that was cut
    off ends the process (SIGBUS), so each call looks at the file's size, and what is kept for
    longer is a copy.

    Args:
        path: The file.
        size: Number of its bytes that are committed.

    Raises:
        StoreError: There is no such file, or it is shorter.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self._mapped: np.ndarray | None = None
        if not path.is_file():
            raise self._short('no such file')
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._handle)
        self._check()

    def read(self, start: int, stop: int) -> np.ndarray:
        """A copy of some bytes, read-only, (stop - start,) uint8.

        Raises:
            ValueError: They are not within the committed bytes.
            StoreError: The file has become shorter.
        """
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f'bytes {start} to {stop} of {self.size}')
        parts, at = [], start
        while at < stop:
            parts.append(os.pread(self._handle, stop - at, at))
            at += len(parts[-1])
            if not parts[-1]:
                raise self._short(f'{os.fstat(self._handle).st_size} bytes')
        return np.frombuffer(parts[0] if len(parts) == 1 else b''.join(parts), np.uint8)

    def whole(self) -> np.ndarray:
        """All committed bytes, a read-only view that is to be used at once, (size,) uint8.

        Raises:
            StoreError: The file has become shorter.
        """
        self._check()
        if self._mapped is None:
            # A plain array over the mapping: slicing a numpy.memmap is ten times slower.
            mapped = self.size and mmap.mmap(self._handle, self.size, access=mmap.ACCESS_READ)
            self._mapped = np.frombuffer(mapped or b'', np.uint8)
        return self._mapped

    def _check(self) -> None:
        found = os.fstat(self._handle).st_size
        if found < self.size:
            raise self._short(f'{found} bytes')

    def _short(self, found: str) -> StoreError:
        expected = f'at least the {self.size} bytes that were committed'
        return StoreError(f'{self.path}', found, expected, _FIX)
