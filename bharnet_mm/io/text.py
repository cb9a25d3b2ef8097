"""Text and JSON of small files, read without trust."""

from __future__ import annotations

import json
import os
from typing import Any

from ..errors import BHaRNetError, SourceError
from .guard import reading

#: Bytes of a file that is read whole as text.
MAX_BYTES = 2**28


def read_text(
    path: str | os.PathLike,
    expected: str = 'a text file in UTF-8',
    fix: str = 'correct the path, or make the file again',
    error: type[BHaRNetError] = SourceError,
) -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Raises:
        BHaRNetError: Of class ``error``: no such file, no text, or more than 256 MB.
    """
    with reading(path, expected, fix, error):
        if os.path.getsize(path) > MAX_BYTES:
            raise ValueError(f'{os.path.getsize(path)} bytes')
        with open(path, encoding='utf-8-sig') as stream:
            return stream.read()


def read_lines(path: str | os.PathLike, **options: Any) -> list[str]:
    """The lines of a text file without the spaces around them; empty ones are left out."""
    return [line.strip() for line in read_text(path, **options).splitlines() if line.strip()]


def read_json(
    path: str | os.PathLike,
    expected: str,
    fix: str = 'restore the file, or make it again',
    error: type[BHaRNetError] = SourceError,
    kind: type = dict,
) -> Any:
    """The content of a JSON file.

    Args:
        path: The file.
        expected, fix, error: See :func:`.guard.reading`.
        kind: What the outermost value must be.

    Raises:
        BHaRNetError: Of class ``error``: no such file, no JSON, or another kind of value.
    """
    with reading(path, expected, fix, error):
        content = json.loads(read_text(path, expected, fix, error))
        if not isinstance(content, kind):
            raise ValueError(f'a {type(content).__name__}')
    return content
