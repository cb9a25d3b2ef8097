"""Warnings of other packages, kept for the log file until there is one."""

from __future__ import annotations

import warnings
from typing import Any

#: Texts in the order in which they came.
KEPT: list[str] = []


def keep_warnings() -> None:
    """Takes Python's warnings off the screen; ``ConsoleRunner`` writes them to its log file."""

    def keep(text: Warning | str, kind: type[Warning], file: str, line: int, *_: Any) -> None:
        KEPT.append(f'{file}:{line}: {kind.__name__}: {text}')

    warnings.showwarning = keep
