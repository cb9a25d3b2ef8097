"""Reads untrusted ``.npy`` and ``.npz`` files of plain numbers and text."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Collection, Mapping
from typing import IO, Any

import numpy as np

from .guard import reading
from .plain_numpy import check_text

#: Largest size in bytes of the arrays of one file.
MAX_BYTES = 2**30


def load_npy(
    path: str | os.PathLike, expected: str, fix: str, max_bytes: int = MAX_BYTES
) -> np.ndarray:
    """An array from a ``.npy`` file.

    Raises:
        SourceError: The file does not exist, is damaged, has other types, or its header declares
            more than ``max_bytes`` or than the file holds. This is checked before memory is
            allocated.
    """
    with reading(path, expected, fix), open(path, 'rb') as stream:
        return _read(stream, min(max_bytes, os.fstat(stream.fileno()).st_size))


def load_npz(
    path: str | os.PathLike,
    expected: str,
    fix: str,
    only: Collection[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> dict[str, np.ndarray]:
    """Arrays of a ``.npz`` file by name; ``only`` names those that are wanted, if they are there.

    Raises:
        SourceError: As :func:`load_npy`, for all arrays together.
    """
    arrays: dict[str, np.ndarray] = {}
    with reading(path, expected, fix), zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix('.npy')
            if name == entry.filename or (only is not None and name not in only):
                continue
            with archive.open(entry) as stream:
                arrays[name] = _read(stream, min(max_bytes, entry.file_size))
            max_bytes -= arrays[name].nbytes
    return arrays


def write_npz(stream: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a compressed ``.npz`` without the time of day, so that equal arrays give equal bytes.

    Args:
        stream: Open for writing in binary.
        arrays: Name to an array of plain numbers or text.
    """
    with zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f'{name}.npy')  # dated 1980, the first year of the format
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, 'w', force_zip64=True) as part:
                np.lib.format.write_array(part, np.asanyarray(array), allow_pickle=False)


def names_in_npz(path: str | os.PathLike, expected: str, fix: str) -> list[str]:
    """Names of the arrays of a ``.npz`` file."""
    with reading(path, expected, fix), zipfile.ZipFile(path) as archive:
        return [name.removesuffix('.npy') for name in archive.namelist() if name.endswith('.npy')]


def _read(stream: IO[Any], limit: int) -> np.ndarray:
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f'a .npy file of version {version}')
    shape, fortran, dtype = readers[version](stream)
    if dtype.kind not in 'biufcSU' or dtype.names or dtype.subdtype:
        raise ValueError(f'an array of {str(dtype)[:60]}, not of plain numbers or text')
    size = math.prod(shape) * dtype.itemsize
    if size > limit or any(n < 0 for n in shape):
        raise ValueError(f'an array that promises {size} bytes where at most {limit} can be')
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size and (block := stream.read(min(1 << 20, size - done))):
        view[done : done + len(block)] = block
        done += len(block)
    if done < size:
        raise EOFError(f'{done} of {size} bytes')
    if dtype.kind == 'U':
        check_text(data, dtype)
    return np.frombuffer(data, dtype).reshape(shape, order='F' if fortran else 'C')
