"""Names of files and of their content: which are hidden, and when two names are equal."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import PurePath


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
