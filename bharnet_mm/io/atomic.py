"""Writes files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import stat
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ..errors import WriteError
from .outputs import may_write
from .text import to_json

try:
    import fcntl
except ImportError:  # Windows: files are still written whole, but left-overs are not removed
    fcntl = None

_LONGEST = 200  # bytes of a name that a temporary name repeats, of the 255 that a name may have
_TEMPORARY = re.compile(r'\..+\.[0-9a-f]{12}\.partial')
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, mode: str = 'w', **options: Any) -> Iterator[IO[Any]]:
    """A stream to a file that replaces ``path`` when the block ends without an exception.

    The content goes to a temporary file in the same folder, is flushed to disk and renamed, and the
    rename is flushed too. Whenever the process or the machine stops, ``path`` holds either all of
    the old content or all of the new. Links are followed and the file's permissions are kept. A
    path that is no regular file (``/dev/stdout``) is written directly. A file without the right to
    write is not replaced.

    Args:
        path: The file; its folder is made if needed.
        mode: ``'w'`` for text, in UTF-8, or ``'wb'``.
        **options: Arguments of :func:`open`.

    Raises:
        WriteError: If the disk is full or refuses the data; ``path`` is unchanged.
        OSError: There is no right to write, or to make the folder.
    """
    if mode not in ('w', 'wb'):
        raise ValueError(f"mode must be 'w' or 'wb', not {mode!r}")
    if mode == 'w':
        options.setdefault('encoding', 'utf-8')
        # Half a character, as in the name of a file that is no UTF-8, is written as \\udc80.
        options.setdefault('errors', 'backslashreplace')
    target = Path(os.path.realpath(path))
    temporary = None
    try:
        if target.exists():
            if not may_write(target):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            if not target.is_file():
                with open(target, mode, **options) as stream:
                    yield stream
                return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, stream = _open_temporary(target, mode, options)
        try:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if target.exists():
                os.fchmod(stream.fileno(), stat.S_IMODE(target.stat().st_mode))
            # The file is renamed before the lock is released, so that it is not mistaken for a
            # left-over.
            os.replace(temporary, target)
            temporary = None
        finally:
            _close(stream)
        sync_folder(target.parent)
    except OSError as error:
        if not is_disk_error(error):
            raise
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file, whole or not at all, making its folder if needed."""
    with atomic_write(path) as stream:
        stream.write(text)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes a JSON file, whole or not at all, making its folder if needed."""
    write_text(path, to_json(content) + '\n')


def write_built(path: str | os.PathLike, build: Callable[[IO[bytes]], Any]) -> None:
    """Writes what ``build`` writes to a stream in memory, whole or not at all.

    For libraries that end the process if a stream refuses data, as torch's archive writer does on a
    full disk.
    """
    content = io.BytesIO()
    build(content)
    with atomic_write(path, 'wb') as stream:
        stream.write(content.getbuffer())


def copy_whole(source: str | os.PathLike, path: str | os.PathLike) -> int:
    """Copies a file, which appears whole or not at all, making its folder if needed; returns its
    size in bytes.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(source, 'rb') as content, atomic_write(path, 'wb') as stream:
        shutil.copyfileobj(content, stream, 1 << 20)
        return content.tell()


def _open_temporary(target: Path, mode: str, options: dict) -> tuple[Path, IO[Any]]:
    name = os.fsdecode(os.fsencode(target.name)[:_LONGEST])
    while True:
        temporary = target.with_name(f'.{name}.{uuid.uuid4().hex[:12]}.partial')
        stream = open(temporary, mode.replace('w', 'x'), **options)
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(stream.fileno()).st_nlink:
            return temporary, stream
        stream.close()  # another process removed it before it was locked


def _close(stream: IO[Any]) -> None:
    """Closes a stream even if its last flush fails, which would leave the file open."""
    try:
        stream.close()
    except OSError:
        raw = getattr(stream, 'buffer', stream)
        getattr(raw, 'raw', raw).close()
        raise


def sync_folder(folder: str | os.PathLike) -> None:
    """Flushes a folder's entries to disk, so that a rename in it survives a power failure."""
    if os.name != 'posix':
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(handle)


def remove_left_overs(folder: str | os.PathLike) -> list[Path]:
    """Removes the temporary files that killed processes left in a folder; returns their paths.

    Temporary files that are being written are locked and are not removed.
    """
    removed = []
    if fcntl is None or not os.path.isdir(folder):
        return removed
    for path in sorted(Path(folder).iterdir()):
        if not _TEMPORARY.fullmatch(path.name) or path.is_symlink() or not path.is_file():
            continue
        with contextlib.suppress(OSError), open(path, 'rb') as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed.append(path)
    return removed


def swap_folders(new: Path, old: Path) -> None:
    """Puts the folder ``new`` in the place of ``old``, which then lies where ``new`` was.

    This is one step if the system can exchange names (Linux, most file systems). Otherwise ``old``
    is named ``.NAME.replaced`` for a moment, and :func:`undo_swap` repairs a kill in that moment.
    """
    if not _exchange(new, old):
        aside = _aside(old)
        os.rename(old, aside)
        os.rename(new, old)
        os.rename(aside, new)
    sync_folder(old.parent)


def undo_swap(folder: Path) -> None:
    """Restores a folder that a killed ``swap_folders`` had renamed."""
    if not folder.exists() and _aside(folder).exists():
        os.rename(_aside(folder), folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f'.{folder.name}.replaced')


def _exchange(first: Path, second: Path) -> bool:
    """Exchanges two names by Linux's ``renameat2``; False if that is not possible."""
    if sys.platform != 'linux':
        return False
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0


def is_disk_error(error: BaseException | None) -> bool:
    """Whether an exception says that a disk is full or refuses data."""
    return isinstance(error, OSError) and error.errno in _DISK_ERRORS


def write_error(path: str | os.PathLike, error: OSError) -> WriteError:
    """The error for a disk that refused data."""
    return WriteError(
        f'{path}',
        f'a disk that refused the data ({error.strerror or error})',
        'room for the file',
        'free disk space or write elsewhere, then continue; what was there before is untouched',
    )
