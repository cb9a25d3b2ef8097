"""Lists folders that others made. Nothing is waited for, listed twice or left out in silence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .names import is_shown

#: Is told the path of what cannot be listed, and why.
Unusable = Callable[[str, str], None]


class Listed(NamedTuple):
    """What lies in a folder, sorted by path."""

    files: list[Path]
    folders: list[Path]


def _refused(path: str, reason: str) -> None:
    raise ValueError(f'{path}: {reason}')


def children(folder: str | os.PathLike, unusable: Unusable = _refused) -> Listed:
    """Files and folders in a folder, or those that links in it lead to. Hidden ones are left out.

    Args:
        folder: The folder.
        unusable: Is called with the path and what it is for everything else: pipes, devices, and
            links that lead nowhere. By default this is an error.

    Raises:
        OSError: There is no such folder, or no right to read it.
        ValueError: Something in it is neither a file nor a folder, unless ``unusable`` is given.
    """
    files, folders = [], []
    with os.scandir(folder) as entries:
        shown = sorted((e for e in entries if is_shown(e.name)), key=lambda entry: entry.name)
    for entry in shown:
        path = Path(folder, entry.name)
        try:
            if entry.is_dir():
                folders.append(path)
            elif entry.is_file():
                files.append(path)
            elif os.path.exists(path):
                unusable(str(path), 'a pipe or a device, not a file')
            else:
                unusable(str(path), 'a link that leads nowhere')
        except OSError as error:  # a link to itself
            unusable(str(path), f'a link that cannot be followed ({error.strerror})')
    return Listed(files, folders)


def grandchildren(folder: str | os.PathLike, unusable: Unusable) -> list[tuple[Path, Listed]]:
    """The folders in a folder, each with what lies in it; arguments and errors of
    :func:`children`. One that cannot be read is unusable.
    """
    return [
        (path, found)
        for path in children(folder, unusable).folders
        if (found := _readable(path, unusable)) is not None
    ]


def everything_below(folder: str | os.PathLike, unusable: Unusable = _refused) -> Listed:
    """Files and folders in a folder and in those below it; arguments and errors of
    :func:`children`.

    Links to folders are followed, but no folder is listed twice: a link to one that was listed
    already or that lies above is unusable, and so is a folder that cannot be read. If there is no
    such folder, nothing is listed.
    """
    if not os.path.isdir(folder):
        return Listed([], [])
    top = children(folder, unusable)
    files, folders = list(top.files), []
    real = Path(os.path.realpath(folder))
    waiting, listed = top.folders, {_identity(above) for above in (real, *real.parents)}
    while waiting:
        # All real folders come before links to them: what a link is called does not matter then.
        waiting.sort(key=lambda path: (path.is_symlink(), path), reverse=True)
        path = waiting.pop()
        if (identity := _identity(path)) in listed:
            unusable(str(path), 'a link to a folder above, or one that is listed already')
            continue
        listed.add(identity)
        found = _readable(path, unusable)
        if found is not None:
            folders.append(path)
            files += found.files
            waiting += found.folders
    return Listed(sorted(files), sorted(folders))


def _readable(path: Path, unusable: Unusable) -> Listed | None:
    try:
        return children(path, unusable)
    except OSError as error:
        unusable(str(path), f'a folder that cannot be read ({error.strerror})')
        return None


def _identity(path: str | os.PathLike) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
