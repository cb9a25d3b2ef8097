"""Names of files and of their content: which are hidden, when two names are equal, and how they are
shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import PurePath

#: Control characters, what ends a line, what changes the direction of the text after it, and halves
#: of characters, as Python has them for bytes of a file name that are no UTF-8.
_UNSAFE = re.compile(
    r'[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb'
    r'\ud800-\udfff]'
)


def shown(text: object) -> str:
    r"""A text from outside as it may stand in one line of a terminal, a report or a picture.

    Names of clips, classes and files may have characters that steer the terminal (``\x1b[2J``),
    begin a new line or turn the text around. These are written as in Python: ``\x1b``, ``\n``,
    ``\u202e``.
    """
    return _UNSAFE.sub(lambda found: found[0].encode('unicode_escape').decode(), str(text))


def json_safe(text: str) -> str:
    """JSON text, written with line breaks of its own, with such characters in its strings escaped.

    The values stay the same.
    """
    return _UNSAFE.sub(lambda found: _in_json(found[0]), text)


def _in_json(character: str) -> str:
    return character if character == '\n' else f'\\u{ord(character):04x}'


def table_row(cells: Iterable[object]) -> str:
    """A row of a Markdown table."""
    return f'| {" | ".join(shown(cell).replace("|", chr(92) + "|") for cell in cells)} |'


def to_bytes(name: str) -> bytes:
    """A name in UTF-8. Bytes of a file name that are no UTF-8 are these bytes again.

    Other halves of characters cannot be in the name of a file; :func:`from_bytes` makes three
    characters of each.
    """
    try:
        return name.encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError:
        return name.encode('utf-8', 'surrogatepass')


def from_bytes(raw: bytes) -> str:
    """The name of :func:`to_bytes`."""
    return raw.decode('utf-8', 'surrogateescape')


def same_form(name: str) -> str:
    """The composed form (NFC) of a name. A Mac writes é as two characters, other systems as one."""
    return name if name.isascii() else unicodedata.normalize('NFC', name)


def repeated(names: Iterable[Hashable], most: int = 5) -> list:
    """The names that occur more than once, sorted; at most ``most`` of them, for a message."""
    return sorted((name for name, times in Counter(names).items() if times > 1), key=str)[:most]


def is_shown(path: str | PurePath, below: str | PurePath | None = None) -> bool:
    """Whether neither a file nor a folder above it is hidden: ``._0.npy``, ``.DS_Store``,
    ``__MACOSX/...``.

    Args:
        path: The file, or its place in an archive.
        below: Only names below this folder are checked.
    """
    path = PurePath(path)
    parts = (path.relative_to(below) if below is not None else path).parts
    return not any(
        part == '__MACOSX' or (part.startswith('.') and part not in ('.', '..')) for part in parts
    )
