"""Keeps warnings of other packages until there is a log file."""

from __future__ import annotations

import warnings
from typing import Any

#: Texts in order.
KEPT: list[str] = []


def keep_warnings() -> None:
    """Hides Python's warnings on the screen. ``ConsoleRunner`` writes them to its log file."""

    def keep(text: Warning | str, kind: type[Warning], file: str, line: int, *_: Any) -> None:
        KEPT.append(f'{file}:{line}: {kind.__name__}: {text}')

    warnings.showwarning = keep
