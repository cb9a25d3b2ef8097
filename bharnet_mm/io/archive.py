"""Reads the files in untrusted ``.zip`` and ``.tar`` archives, without unpacking them to a disk."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Collection, Iterable, Iterator

from ..errors import SourceError
from .guard import reading

#: Bytes of one file and of all files of a compressed archive, and the number of files.
MAX_FILE, MAX_UNPACKED, MAX_FILES = 2**26, 2**32, 500_000
_EXPECTED = 'a .zip, .tar or .tgz archive'
_FIX = 'unpack or download it again'


def files_in_archive(path: str | os.PathLike) -> list[tuple[str, int]]:
    """Name and size of each regular file, in the archive's order. Links, folders, pipes and devices
    are left out, and a name may occur twice.

    Raises:
        SourceError: It is no archive, is damaged, or has more than 4 GB or 500,000 files when
            unpacked.
    """
    with reading(path, _EXPECTED, _FIX):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found = [(e.filename, e.file_size) for e in archive.infolist() if not e.is_dir()]
        else:
            with tarfile.open(path, tarinfo=_Member) as archive:
                found = [(member.name, member.size) for member in _members(archive)]
        if len(found) > MAX_FILES:
            raise ValueError(f'more than {MAX_FILES} files')
    return found


def read_archive(
    path: str | os.PathLike, wanted: Collection[str]
) -> Iterator[tuple[str, bytes | SourceError]]:
    """Name and content of some files, in the archive's order; of a name that occurs twice the
    first.

    In place of content that cannot be read (damaged or encrypted, or more than 64 MB) there is the
    error.

    Raises:
        SourceError: The archive itself is damaged.
    """
    left = set(wanted)
    if zipfile.is_zipfile(path):
        with reading(path, _EXPECTED, _FIX), zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename in left and not entry.is_dir():
                    left.remove(entry.filename)
                    yield entry.filename, _content(archive, entry, f'{path}, {entry.filename}')
        return
    # A compressed tar can only be read once from front to back.
    with reading(path, _EXPECTED, _FIX), tarfile.open(path, tarinfo=_Member) as archive:
        for member in _members(archive):
            if member.name in left:
                left.remove(member.name)
                _check_size(member.size)
                yield member.name, archive.extractfile(member).read()


def check_stored(entries: Iterable[zipfile.ZipInfo], size: int) -> None:
    """Checks that a zip archive is one of torch's, which stores without compression, so that its
    parts have no more bytes than the archive.

    Raises:
        ValueError: It is not.
    """
    entries = list(entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError('a compressed archive, which torch does not write')
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError('an archive that promises more bytes than it has')


class _Member(tarfile.TarInfo):
    """Headers of long names and of other facts, which are read into memory, have a bound."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        member = super().frombuf(buf, encoding, errors)
        if member.type in b'xgXLK' and member.size > 2**20:
            raise tarfile.ReadError(f'a header of {member.size} bytes')
        return member


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The regular files of a tar archive, one after the other; none of them is kept."""
    total = count = 0
    while (member := archive.next()) is not None:
        archive.members.clear()
        total, count = total + 512 + member.size, count + 1
        # A small file can stand for terabytes, which would be unpacked to find the next.
        if total > MAX_UNPACKED or count > MAX_FILES:
            raise ValueError(
                f'more than {MAX_UNPACKED >> 30} GB or {MAX_FILES} files when unpacked'
            )
        if member.isreg():
            yield member
    # tarfile takes a damaged header for the end, behind which there are zeros. To read them has
    # the checksum of a compressed archive compared.
    archive.fileobj.seek(archive.offset)
    for _ in range(64):
        block = archive.fileobj.read(2**14)
        if block.strip(b'\0'):
            raise tarfile.ReadError(f'a damaged header at byte {archive.offset}')
        if not block:
            break


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str) -> bytes | SourceError:
    try:
        with reading(where, 'a file that can be unpacked', _FIX):
            _check_size(entry.file_size)
            return archive.read(entry)
    except SourceError as error:
        return error


def _check_size(size: int) -> None:
    if size > MAX_FILE:
        raise ValueError(f'more than {MAX_FILE >> 20} MB when unpacked')
