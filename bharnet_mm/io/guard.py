"""One boundary for all readers: what a file's content raises becomes an error of this package."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..errors import BHaRNetError, SourceError
from .content import NPY, PICKLE, ZIP, content_of

# What no content can cause: a mistake in the program, which must be seen as one.
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
    """Turns what the content of a file raises within the block into ``error`` with its name.

    Libraries raise almost anything on damaged bytes (``zlib.error``, ``BadZipFile``, ``KeyError``,
    ``RecursionError``, ``MemoryError`` ...). Errors of ours pass as they are, and so do mistakes of
    the program (a misspelt name, a missing module). Put as little as possible into the block: the
    calls that read and interpret the content.

    Args:
        path: The file, for the message.
        expected: What the file should be.
        fix: What the user can do.
        error: The class that is raised.
        but: Exceptions that pass as they are.
    """
    try:
        yield
    except (BHaRNetError, *_PROGRAMMING_ERRORS, *but):
        raise
    except FileNotFoundError:
        found = 'no such file'
    except OSError as problem:
        found = f'{problem.strerror or problem}'
    except Exception as problem:
        # torch's text begins with how to load the file unsafely; the reason comes last
        text = str(problem).rpartition('WeightsUnpickler error:')[2].strip().partition('\n')[0]
        kind = '' if type(problem) is ValueError else type(problem).__name__
        found = ': '.join(filter(None, [kind, text[:300]])) or 'damaged content'
        # NumPy advises allow_pickle for whatever it does not know, and unpacks JSON as a zip.
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


def reads(expected: str, fix: str = 'restore or make the file again') -> Callable:
    """Decorates a function whose first argument is the file or item that it reads: :func:`reading`
    around all of it, with the name of that argument.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def guarded(item: Any, *arguments: Any, **options: Any) -> Any:
            with reading(name_of(item), expected, fix):
                return function(item, *arguments, **options)

        return guarded

    return decorate


def name_of(item: Any) -> str:
    """What to call a file or an item in a message: its path or id, shortened."""
    if isinstance(item, (tuple, list)) and item:
        item = item[0]
    if isinstance(item, dict):
        item = item.get('frame_dir', item.get('filename', 'annotation'))
    return str(getattr(item, 'clip_id', item))[:200]
