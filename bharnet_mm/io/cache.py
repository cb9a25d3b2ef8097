"""The user's cache folder, and checks whether a file in it can be trusted."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from ..errors import ConfigError
from .atomic import atomic_write


def cache_folder(kind: str) -> Path:
    """The folder ``bharnet_mm/KIND`` in ``$XDG_CACHE_HOME``, by default ``~/.cache``; made if
    needed.

    If the cache is shared and its ``bharnet_mm`` belongs to another user, it is ``bharnet_mm-UID``.

    Raises:
        ConfigError: If neither can be a folder to which only this user can write.
    """
    base = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    names = ['bharnet_mm', f'bharnet_mm-{os.getuid()}'] if hasattr(os, 'getuid') else ['bharnet_mm']
    for name in names:
        folder = base / name / kind
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        except OSError:
            continue
        if is_ours(folder.parent) and is_ours(folder) and os.access(folder, os.W_OK):
            return folder
    raise ConfigError(
        f'cache folder {base}',
        'no folder in it that only you can write to',
        'a cache of your own',
        'set XDG_CACHE_HOME to a folder of your own',
    )


def is_ours(path: str | os.PathLike) -> bool:
    """Whether a file or folder (not a link) belongs to this user and only this user may write to
    it.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return False
    if not hasattr(os, 'getuid'):
        return True
    writable = stat.S_IMODE(found.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
    return found.st_uid == os.getuid() and not stat.S_ISLNK(found.st_mode) and not writable


def seal(path: Path) -> str:
    """Writes a file's SHA-256 beside it (``NAME.sha256``) and returns it."""
    digest = file_sha256(path)
    with atomic_write(path.with_name(path.name + '.sha256')) as stream:
        stream.write(digest + '\n')
    return digest


def is_sealed(path: Path) -> bool:
    """Whether a file and its seal belong to this user and the content has the sealed checksum."""
    beside = path.with_name(path.name + '.sha256')
    if not (path.is_file() and is_ours(path) and is_ours(beside)):
        return False
    return beside.read_bytes()[:65].decode('ascii', 'replace').strip() == file_sha256(path)


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
