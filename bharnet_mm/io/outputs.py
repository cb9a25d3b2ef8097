"""Output paths of commands, for argparse: checked before the work, so that no result is lost."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path


def output_file(text: str) -> Path:
    """A file that can be written.

    Raises:
        ArgumentTypeError: It is a folder, or there is no right to write it or to make its folder.
    """
    return _checked(text, [Path(text)], _hindrance_of_file, 'a file that can be written')


def output_files(*endings: str) -> Callable[[str], Path]:
    """A path of which files with several endings are made, such as ``OUT.json`` and ``OUT.md``."""

    def output_path(text: str) -> Path:
        paths = [Path(text).with_suffix(ending) for ending in endings]
        return _checked(text, paths, _hindrance_of_file, 'files that can be written')

    return output_path


def output_folder(text: str) -> Path:
    """A folder that is there or can be made, and in which files can be written.

    Raises:
        ArgumentTypeError: It is a file, or there is no right to write in it or to make it.
    """
    expected = 'a folder in which files can be written'
    return _checked(text, [Path(text)], _hindrance_of_folder, expected)


def may_write(path: str | os.PathLike, right: int = os.W_OK) -> bool:
    """Whether the process has the right to write a file or, with ``X_OK``, in a folder."""
    effective = {'effective_ids': True} if os.access in os.supports_effective_ids else {}
    return os.access(path, right, **effective)


def _checked(text: str, paths: list[Path], check: Callable[[Path], str], expected: str) -> Path:
    for path in paths:
        try:
            found = check(Path(os.path.realpath(path)))
        except (OSError, ValueError) as error:  # too long, or a zero byte
            found = getattr(error, 'strerror', None) or f'{error}'
        if found:
            raise argparse.ArgumentTypeError(f'{text}: found {found}; expected {expected}')
    return Path(text)


def _hindrance_of_file(target: Path) -> str:
    """Why a file cannot be written; empty if it can."""
    if target.is_dir():
        return 'a folder'
    if target.exists():
        if not may_write(target):
            return 'no right to write it'
        if not target.is_file():  # a pipe or a device is written directly
            return ''
    return _hindrance_of_folder(target.parent)


def _hindrance_of_folder(target: Path) -> str:
    """Why files cannot be written in a folder, which need not be there; empty if they can."""
    above = target
    # Path.is_dir raises where a name is too long, and lexists does not.
    while not above.is_dir() and not os.path.lexists(above) and above != above.parent:
        above = above.parent
    if not above.is_dir():
        return f'no folder at {above}'
    return '' if may_write(above, os.W_OK | os.X_OK) else f'no right to write in {above}'
