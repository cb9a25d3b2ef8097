"""Replacements of NumPy's classes for reading untrusted pickles.

A pickle rebuilds an array through ``numpy.dtype``, ``_reconstruct`` and ``__setstate__``, and NumPy
trusts their arguments. For example, a dtype of objects with wrong flags turns raw bytes into
pointers. The replacements build plain numbers and text only, and check all sizes against the bytes.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

_NAME = re.compile(r'[<>|=]?(\?|b1|[biufc][0-9]{1,2}|[SU][0-9]{1,9})')


class PlainDtype:
    """Replaces ``numpy.dtype``: booleans, numbers and text of a fixed length.

    Raises:
        ValueError: For any other dtype (objects, records, sub-arrays, dates).
    """

    def __init__(self, name: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f'an array of dtype {str(name)[:40]!r}, not of plain numbers or text')
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        """Sets the byte order. The rest of the state must be that of a plain dtype."""
        plain = isinstance(state, tuple) and len(state) == 8 and state[2:5] == (None, None, None)
        if (
            not plain
            or state[1] not in ('<', '>', '|', '=')
            or state[5]
            not in (
                -1,
                self.dtype.itemsize,
            )
        ):
            raise ValueError('a dtype with fields, sub-arrays or metadata')
        if state[1] != '|':
            self.dtype = self.dtype.newbyteorder(state[1])


class PlainArray(np.ndarray):
    """Replaces ``numpy.ndarray``. It is empty at first and checks its pickled state before NumPy
    uses it.

    It is pickled as a plain array.
    """

    def __new__(cls) -> PlainArray:
        """An empty array; its content comes with :meth:`__setstate__`."""
        return super().__new__(cls, (0,), np.int8)

    def __setstate__(self, state: Any) -> None:
        """Takes ``(version, shape, dtype, Fortran order, bytes)``, as NumPy writes it.

        Raises:
            ValueError: If the shape does not fit the bytes, or the dtype is not plain.
        """
        _, shape, dtype, fortran, data = state
        dtype = _check(dtype, shape, data)
        super().__setstate__((1, shape, dtype, bool(fortran), data))

    def __reduce__(self) -> Any:
        return np.asarray(self).__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return np.asarray(self).__reduce_ex__(protocol)


def reconstruct(kind: Any, shape: Any, code: Any) -> PlainArray:
    """Replaces ``numpy.core.multiarray._reconstruct``: an empty array, whose state follows."""
    if kind is not PlainArray or tuple(shape) != (0,) or code not in (b'b', 'b'):
        raise ValueError('an array that is not rebuilt as NumPy writes it')
    return PlainArray()


def scalar(dtype: Any, data: Any) -> np.generic:
    """Replaces ``numpy.core.multiarray.scalar``."""
    return np.frombuffer(data, _check(dtype, (1,), data))[0]


def from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """Replaces ``numpy.core.numeric._frombuffer``, which protocol 5 uses."""
    dtype = _check(dtype, shape, data)
    return np.frombuffer(data, dtype).reshape(shape, order='F' if order == 'F' else 'C')


def empty_bytes() -> bytes:
    """Replaces ``bytes()``, since older protocols write empty bytes as this call."""
    return b''


def _check(dtype: Any, shape: Any, data: Any) -> np.dtype:
    if type(dtype) is not PlainDtype or not isinstance(data, (bytes, bytearray)):
        raise ValueError('an array whose dtype or bytes are something else')
    if not (isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)):
        raise ValueError('an array without a shape')
    promised = math.prod(shape) * dtype.dtype.itemsize
    if promised != len(data):
        raise ValueError(f'an array that promises {promised} bytes and has {len(data)}')
    if dtype.dtype.kind == 'U':
        check_text(data, dtype.dtype)
    return dtype.dtype


def check_text(data: bytes | bytearray, dtype: np.dtype) -> None:
    """Raises ValueError unless the bytes are Unicode code points in this byte order."""
    codes = np.frombuffer(data, np.dtype('u4').newbyteorder(dtype.byteorder))
    if codes.size and codes.max() > 0x10FFFF:
        raise ValueError('text that is not Unicode')


#: Names in NumPy 1 and 2 to their replacements.
STAND_INS = {
    **{
        (f'numpy.{core}.{module}', name): stand_in
        for core in ('core', '_core')
        for module, name, stand_in in (
            ('multiarray', '_reconstruct', reconstruct),
            ('multiarray', 'scalar', scalar),
            ('numeric', '_frombuffer', from_buffer),
        )
    },
    ('builtins', 'bytes'): empty_bytes,
    ('__builtin__', 'bytes'): empty_bytes,
    ('numpy', 'dtype'): PlainDtype,
    ('numpy', 'ndarray'): PlainArray,
}
