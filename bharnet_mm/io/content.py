"""Describes the content of a file that has another format than expected."""

from __future__ import annotations

import os

NPY, ZIP, PICKLE = 'a .npy array', 'a zip or .npz archive', 'a pickle'
_STARTS = (
    (b'PK\x03\x04', ZIP),
    (b'\x93NUMPY', NPY),
    (b'\x89HDF', 'an HDF5 file'),
    (b'\x1f\x8b', 'a gzip file'),
    (b'version https://git-lfs', 'a Git LFS pointer, not the file itself'),
    (b'<!DOCTYPE', 'a web page'),
    (b'<html', 'a web page'),
    (b'\x80', PICKLE),
)


def content_of(path: str | os.PathLike) -> str:
    """The format that the first bytes of a file show: ``'an empty file'``, ``'JSON text'``, ... or
    ``''``.
    """
    with open(path, 'rb') as stream:
        head = stream.read(512)
    if not head:
        return 'an empty file'
    for start, what in _STARTS:
        if head.startswith(start):
            return what
    text = head.lstrip(b'\xef\xbb\xbf \t\r\n')
    if text[:1] in (b'{', b'[') and b'\0' not in head:
        return 'JSON text'
    printable = sum((byte >= 32 and byte != 127) or byte in b'\t\r\n' for byte in head)
    # Protocol 0 of pickle is text too, but has its own first character.
    return 'plain text' if printable == len(head) and head[:1] not in b'(]}cIFSVNL.' else ''
