"""Text and JSON of small files, read without trust."""

from __future__ import annotations

import json
import os
from typing import Any

from ..errors import BHaRNetError, SourceError
from .guard import reading, refuse_special
from .names import json_safe

#: Bytes of a file that is read whole as text.
MAX_BYTES = 2**28
#: Bytes of memory that the value of a JSON text may take.
MAX_JSON_BYTES = 800 << 20
_JSON_BYTES = (64, 72, 40, 96)  # of a list, a dict, an element and a key with its value


def read_text(
    path: str | os.PathLike,
    expected: str = 'a text file in UTF-8',
    fix: str = 'correct the path, or make the file again',
    error: type[BHaRNetError] = SourceError,
    errors: str = 'strict',
) -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Args:
        path: The file.
        expected, fix, error: See :func:`.guard.reading`.
        errors: What is done with bytes that are no UTF-8, see :meth:`bytes.decode`.

    Raises:
        BHaRNetError: Of class ``error``: no such file, no text, or more than 256 MB.
    """
    with reading(path, expected, fix, error):
        text = read_bytes(path).decode('utf-8-sig', errors)
        return text.replace('\r\n', '\n').replace('\r', '\n')


def read_bytes(path: str | os.PathLike, most: int = MAX_BYTES) -> bytes:
    """The content of a file, to be called within :func:`.guard.reading`.

    Raises:
        ValueError: It has more than ``most`` bytes, or is a pipe or a device.
    """
    refuse_special(path)
    with open(path, 'rb') as stream:
        content = stream.read(min(most, os.fstat(stream.fileno()).st_size) + 1)
    if len(content) > most:
        raise ValueError(f'more than {most >> 20} MB')
    return content


def read_lines(path: str | os.PathLike, **options: Any) -> list[str]:
    """The lines of a text file without the spaces around them; empty ones are left out."""
    return [line.strip() for line in read_text(path, **options).splitlines() if line.strip()]


def parse_json(text: str | bytes) -> Any:
    """The value that JSON text stands for.

    Lists and dicts take up to forty times the bytes of their text, so their size is estimated
    first, from above.

    Raises:
        ValueError: It is no JSON, or its value would take more than 800 MB.
    """
    marks = '[', '{', ',', ':'
    counts = [text.count(mark if isinstance(text, str) else mark.encode()) for mark in marks]
    size = sum(n * bytes_each for n, bytes_each in zip(counts, _JSON_BYTES, strict=True))
    if size + len(text) > MAX_JSON_BYTES:
        raise ValueError(f'JSON of {len(text)} bytes, whose value may take {size >> 20} MB')
    return json.loads(text)


def to_json(value: Any, indent: int | None = 1) -> str:
    """JSON text of a value, readable in any alphabet and harmless in a terminal."""
    return json_safe(json.dumps(value, indent=indent, ensure_ascii=False))


def load_json(path: str | os.PathLike) -> Any:
    """The value in a JSON file, to be called within :func:`.guard.reading`.

    Raises:
        ValueError: As :func:`parse_json`, or the file has more than 256 MB.
    """
    return parse_json(read_bytes(path).decode('utf-8-sig'))


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
        content = load_json(path)
        if not isinstance(content, kind):
            raise ValueError(f'a {type(content).__name__}')
    return content
