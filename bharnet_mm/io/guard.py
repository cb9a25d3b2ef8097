"""One boundary for all readers: what a file's content raises becomes an error of ours."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ..errors import BHaRNetError, SourceError

# What no content can cause: a mistake in the program, which must be seen as one.
_PROGRAMMING_ERRORS = (NameError, ImportError, NotImplementedError)


@contextlib.contextmanager
def reading(
    path: str | os.PathLike,
    expected: str,
    fix: str = 'download, restore or make the file again',
    error: type[BHaRNetError] = SourceError,
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
    """
    try:
        yield
    except (BHaRNetError, *_PROGRAMMING_ERRORS):
        raise
    except FileNotFoundError:
        found = 'no such file'
    except OSError as problem:
        found = f'{problem.strerror or problem}'
    except Exception as problem:
        # torch's text begins with how to load the file unsafely; the reason comes last
        text = str(problem).rpartition('WeightsUnpickler error:')[2].strip().partition('\n')[0]
        found = type(problem).__name__ + (f': {text[:300]}' if text else '')
    else:
        return
    raise error(f'{path}', found, expected, fix) from None
