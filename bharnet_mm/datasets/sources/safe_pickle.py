"""Pickles without running code: plain containers, numbers, text and numpy arrays, nothing else."""

import os
import pickle
from typing import Any

from ...errors import SourceError

# numpy renamed its core in version 2; what either writes is admitted
_NUMPY = {
    (f'numpy.{core}.{module}', name)
    for core in ('core', '_core')
    for module, name in (
        ('multiarray', '_reconstruct'),
        ('multiarray', 'scalar'),
        ('numeric', '_frombuffer'),
    )
}
# what older protocols name because they have no code for it
_PLAIN = {
    (module, name)
    for module in ('builtins', '__builtin__')
    for name in ('set', 'frozenset', 'bytes', 'bytearray')
}
_ADMITTED = (
    _NUMPY
    | _PLAIN
    | {
        ('numpy', 'ndarray'),
        ('numpy', 'dtype'),
        ('collections', 'OrderedDict'),
        ('_codecs', 'encode'),  # how protocols 0 to 2 write bytes
    }
)


class RestrictedUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain containers only.

    Raises:
        SourceError: The pickle asks for anything else.
    """

    def __init__(self, stream: Any, where: str) -> None:
        super().__init__(stream)
        self.where = where

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ADMITTED:
            return super().find_class(module, name)
        raise SourceError(
            self.where,
            found=f'{module}.{name}',
            expected='numpy arrays, lists, dicts, text and numbers only',
            fix='a pickle that asks for this can run code: get the file from a source you trust, '
            'and save its content with plain types and numpy arrays',
        )

    def persistent_load(self, pid: Any) -> Any:
        raise SourceError(
            self.where,
            found='a reference to something outside the pickle',
            expected='all content in the pickle',
            fix='save it with pickle.dump',
        )


def load_pickle(
    path: str | os.PathLike, unpickler: type[RestrictedUnpickler] = RestrictedUnpickler
) -> Any:
    """Loads a pickle through :class:`RestrictedUnpickler`, or a subclass that admits more.

    Raises:
        SourceError: Not a pickle, damaged, or asking for a class that is not admitted.
    """
    try:
        with open(path, 'rb') as stream:
            return unpickler(stream, str(path)).load()
    except SourceError:
        raise
    except OSError as error:
        found = f'{error}'
    except Exception as error:  # damaged bytes make the unpickler raise almost anything
        found = f'{type(error).__name__}: {error}'
    raise SourceError(
        str(path), found=found, expected='a readable pickle', fix='download or save the file again'
    )
