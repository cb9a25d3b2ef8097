"""Converts exceptions that the content of a file causes to errors of this package."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..errors import BHaRNetError, SourceError
from .content import NPY, PICKLE, ZIP, content_of

# Exceptions that content cannot cause. They are mistakes of the program and are not converted.
_PROGRAMMING_ERRORS = (NameError, ImportError)
_Function = TypeVar('_Function', bound=Callable[..., Any])


@contextlib.contextmanager
def reading(
    path: str | os.PathLike,
    expected: str,
    fix: str = 'download, restore or make the file again',
    error: type[BHaRNetError] = SourceError,
    but: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Converts exceptions that the content of a file causes within the block to ``error``.

    Libraries raise almost any exception on damaged bytes (``zlib.error``, ``BadZipFile``,
    ``KeyError``, ``RecursionError``, ``MemoryError`` ...). Errors of this package are not changed,
    and neither are mistakes of the program (a misspelt name, a missing module). The block should
    contain only the calls that read and interpret the content.

    Args:
        path: The file, for the message.
        expected: What the file should be.
        fix: What the user can do.
        error: The class that is raised.
        but: Exceptions that are not converted.
    """
    try:
        refuse_special(path)
        yield
    except (BHaRNetError, *_PROGRAMMING_ERRORS, *but):
        raise
    except FileNotFoundError:
        found = 'no such file'
    except OSError as problem:
        found = f'{problem.strerror or problem}'
    except Exception as problem:
        # torch's text begins with advice to load the file unsafely; the reason is at its end
        text = str(problem).rpartition('WeightsUnpickler error:')[2].strip().partition('\n')[0]
        kind = '' if type(problem) is ValueError else type(problem).__name__
        found = ': '.join(filter(None, [kind, text[:300]])) or 'damaged content'
        # NumPy advises allow_pickle for every unknown format.
        strange = 'allow_pickle' in found or kind in ('BadZipFile', 'UnpicklingError', 'EOFError')
        strange |= 'magic string' in found
        what = content_of(path) if strange and os.path.isfile(path) else ''
        if 'allow_pickle' in found:
            found = what or 'pickled objects or unknown bytes'
        elif what and what not in (NPY, ZIP, PICKLE):
            found = what
    else:
        return
    raise error(f'{path}', found, expected, fix) from None


def refuse_special(path: str | os.PathLike) -> None:
    """Refuses a pipe, which would be waited for, and a device, whose bytes may never end.

    Raises:
        ValueError: It is one of them.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # not there, or no path at all: what reads it will say so
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError('a pipe or a device, not a file')


def reads(expected: str, fix: str = 'restore or make the file again') -> Callable:
    """Decorates a function whose first argument is the file or item that it reads, with
    :func:`reading` around the whole function.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def guarded(item: Any, *arguments: Any, **options: Any) -> Any:
            with reading(name_of(item), expected, fix):
                # The item may be a pair of the clip's id and the path.
                for part in item if isinstance(item, (tuple, list)) else (item,):
                    if isinstance(part, (str, os.PathLike)):
                        refuse_special(part)
                return function(item, *arguments, **options)

        return guarded

    return decorate


def name_of(item: Any) -> str:
    """The name of a file or an item in a message: its path or id, shortened."""
    if isinstance(item, (tuple, list)) and item:
        item = item[0]
    if isinstance(item, dict):
        item = item.get('frame_dir', item.get('filename', 'annotation'))
    return str(getattr(item, 'clip_id', item))[:200]
