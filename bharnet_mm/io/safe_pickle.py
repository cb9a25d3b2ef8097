"""Reads pickles without running code: only plain containers, numbers, text and numpy arrays."""

from __future__ import annotations

import collections
import os
import pickle
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..errors import SourceError
from .guard import reading
from .plain_numpy import STAND_INS, PlainArray, PlainDtype

MAX_DEPTH = 40  # of containers within containers
_SCALARS = (str, bytes, int, float, bool, type(None), np.generic)


def _key(value: Any) -> Any:
    """A dict key or set member, checked to be plain, so that hashing it is cheap and safe."""
    if not isinstance(value, _SCALARS) and not (
        type(value) is tuple and all(isinstance(part, _SCALARS) for part in value)
    ):
        raise ValueError(f'a {type(value).__name__} as a key')
    return value


def _ordered_dict(pairs: Iterable = ()) -> collections.OrderedDict:
    return collections.OrderedDict((_key(key), value) for key, value in pairs)


def _set(members: Iterable = ()) -> set:
    return {_key(member) for member in members}


def _frozenset(members: Iterable = ()) -> frozenset:
    return frozenset(_set(members))


def _bytes(data: Any = b'', encoding: str = 'latin-1') -> bytes:
    if isinstance(data, str) and encoding in ('latin-1', 'latin1'):
        return data.encode('latin-1')
    if not isinstance(data, (bytes, bytearray)):  # bytes(10**12) would make as many
        raise ValueError('bytes of something else')
    return bytes(data)


def _bytearray(data: Any = b'', encoding: str = 'latin-1') -> bytearray:
    return bytearray(_bytes(data, encoding))


_PLAIN = {
    # names in older protocols, which have no code for them
    (module, name): stand_in
    for module in ('builtins', '__builtin__')
    for name, stand_in in (
        ('set', _set),
        ('frozenset', _frozenset),
        ('bytes', _bytes),
        ('bytearray', _bytearray),
    )
}


class RestrictedUnpickler(pickle._Unpickler):
    """Builds numpy arrays of plain numbers or text and plain containers only.

    It is written in Python, as its base class, because the unpickler in C cannot be limited: it
    allocates the sizes that a damaged pickle declares, and builds any dtype. This one never
    allocates more than the file holds.

    Raises:
        SourceError: The pickle asks for anything else.
    """

    admitted: ClassVar[Mapping[tuple[str, str], Callable]] = {
        **STAND_INS,
        **_PLAIN,
        ('collections', 'OrderedDict'): _ordered_dict,
        ('_codecs', 'encode'): _bytes,  # protocols 0 to 2 write bytes so
    }
    # Without the codes that make objects of classes or use the registry of extensions.
    dispatch: ClassVar[dict] = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if bytes([code])
        not in (
            pickle.NEWOBJ,
            pickle.NEWOBJ_EX,
            pickle.OBJ,
            pickle.INST,
            pickle.EXT1,
            pickle.EXT2,
            pickle.EXT4,
        )
    }

    def __init__(self, stream: Any, where: str) -> None:
        start = stream.tell()
        self.size = stream.seek(0, os.SEEK_END) - start
        stream.seek(start)
        super().__init__(_Bounded(stream, self.size))
        self.where = where

    def load(self) -> Any:
        """Reads the pickle.

        Raises:
            SourceError: It asks for anything but plain types and numpy arrays.
            ValueError: It is nested too deeply or would grow too large.
        """
        value = super().load()
        _check_extent(value, self.size)
        return value

    def find_class(self, module: str, name: str) -> Any:
        """The admitted class or function of this name.

        Raises:
            SourceError: It is not admitted.
        """
        if (module, name) in self.admitted:
            return self.admitted[module, name]
        raise SourceError(
            self.where,
            found=f'{module}.{name}',
            expected='numpy arrays, lists, dicts, text and numbers only',
            fix='a pickle that asks for this can run code: get the file from a source you trust, '
            'and save its content with plain types and numpy arrays',
        )

    def persistent_load(self, pid: Any) -> Any:
        """Always raises SourceError: all content must be inside the pickle."""
        raise SourceError(
            self.where,
            found='a reference to something outside the pickle',
            expected='all content in the pickle',
            fix='save it with pickle.dump',
        )

    def load_reduce(self) -> None:
        """Calls an admitted function on the stack."""
        arguments = self.stack.pop()
        function = self.stack[-1]
        if not any(function is admitted for admitted in self.admitted.values()):
            raise ValueError('a call of what is no class')
        self.stack[-1] = function(*arguments)

    def load_build(self) -> None:
        """Gives an array or dtype its state."""
        state = self.stack.pop()
        built = self.stack[-1]
        if type(built) not in (PlainArray, PlainDtype):
            raise ValueError(f'a state for a {type(built).__name__}')
        built.__setstate__(state)
        if type(built) is PlainArray:
            self.stack[-1] = built.view(np.ndarray)

    def _fill(self, pairs: list) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, collections.OrderedDict):
            raise ValueError(f'items for a {type(target).__name__}')
        for i in range(0, len(pairs), 2):
            target[_key(pairs[i])] = pairs[i + 1]

    def load_setitem(self) -> None:
        """Puts one pair into a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def load_setitems(self) -> None:
        """Puts several pairs into a dict."""
        self._fill(self.pop_mark())

    def load_dict(self) -> None:
        """Makes a dict of pairs."""
        items = self.pop_mark()
        self.append({})
        self._fill(items)

    def load_additems(self) -> None:
        """Adds members to a set."""
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise ValueError('members for what is no set')
        self.stack[-1].update(map(_key, items))

    def load_frozenset(self) -> None:
        """Makes a frozenset of members."""
        self.append(_frozenset(self.pop_mark()))

    def load_bytearray8(self) -> None:
        """Makes a bytearray."""
        (size,) = struct.unpack('<Q', self.read(8))
        self.append(bytearray(self.read(size)))

    for _code, _load in (
        (pickle.REDUCE, load_reduce),
        (pickle.BUILD, load_build),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
        (pickle.DICT, load_dict),
        (pickle.ADDITEMS, load_additems),
        (pickle.FROZENSET, load_frozenset),
        (pickle.BYTEARRAY8, load_bytearray8),
    ):
        dispatch[_code[0]] = _load
    del _code, _load


class _Bounded:
    """A stream that raises an error instead of reading more than the file has."""

    def __init__(self, stream: Any, size: int) -> None:
        self.stream, self.left = stream, size
        self.readline = stream.readline

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise EOFError(f'{size} bytes promised, at most {self.left} left')
        return self.stream.read(size)

    def readinto(self, buffer: Any) -> int:
        return self.stream.readinto(buffer)


def _check_extent(value: Any, size: int) -> None:
    """Refuses values that are nested deeply, contain themselves or share parts excessively."""
    left = 10**6 + 8 * size
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, (list, tuple)):
                inner.extend(item)
            if len(inner) > left:
                raise ValueError('a value that holds its parts over and over')
        left -= len(inner)
        level = [item for item in inner if isinstance(item, (dict, list, tuple))]
        if not level:
            return
    raise ValueError(f'containers nested deeper than {MAX_DEPTH}')


def load_pickle(
    path: str | os.PathLike, unpickler: type[RestrictedUnpickler] = RestrictedUnpickler
) -> Any:
    """Loads a pickle through :class:`RestrictedUnpickler`, or a subclass that allows more.

    Raises:
        SourceError: The file is not a pickle, is damaged, or asks for a class that is not allowed.
    """
    with reading(path, 'a readable pickle', 'download or save the file again'):
        with open(path, 'rb') as stream:
            return unpickler(stream, str(path)).load()
