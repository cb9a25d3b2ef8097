"""The binary format of a clip store's files, used by reader and writer."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import BHaRNetError, ClipError, StoreError
from ...io.names import from_bytes, to_bytes
from ...io.text import load_json
from ...layouts import SkeletonLayout, get_layout
from ..clip import Clip

FORMAT = 'bharnet_mm.clip_store'
VERSION = 1
META_FILE = 'store.json'
INDEX_FILE = 'index.bin'
LOCK_FILE = 'writer.lock'
MAX_CHANNELS = 64
FIX = 'restore the folder from a copy, or convert the store again'

TEXT_FIELDS = ('subject', 'camera', 'setup', 'source')
ROW = np.dtype(
    [
        ('clip_id', 'S128'),
        ('offset', '<i8'),
        ('frame_offset', '<i8'),
        ('persons', '<i4'),
        ('frames', '<i4'),
        ('label', '<i4'),
        *((name, 'S32') for name in TEXT_FIELDS),
        ('video', 'S256'),
        ('width', '<i4'),
        ('height', '<i4'),
        ('fps', '<f4'),
        ('crc32', '<u4'),
    ]
)  # packed, since padding bytes may change in a copy, which would break the checksums


class ArrayFormat(NamedTuple):
    """One data file: element type, shape of a row, rows per person-frame (0: one per frame)."""

    dtype: str
    row: tuple[int, ...]
    rows: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.row, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def num_bytes(self, person_frames: int, frames: int) -> int:
        """Bytes of the file for so many person-frames and frames."""
        return self.row_bytes * (self.rows * person_frames if self.rows else frames)


def array_formats(
    body: SkeletonLayout,
    hand: SkeletonLayout | None,
    channels: dict[str, tuple[str, ...]],
    pixels: bool,
    joint_scores: Collection[str] = (),
) -> dict[str, ArrayFormat]:
    """The data files of a store; ``<name>.bin`` holds the clip's array ``name``."""
    formats = {
        'body': ArrayFormat('<f4', (body.num_joints, len(channels['body'])), 1),
        'body_score': ArrayFormat('<f4', (), 1),
    }
    if hand is not None:
        formats['hand'] = ArrayFormat('<f4', (hand.num_joints, len(channels['hand'])), 2)
        formats['hand_score'] = ArrayFormat('<f4', (), 2)
    formats['frame_index'] = ArrayFormat('<i4', (), 0)
    if pixels:
        formats['body_pixel'] = ArrayFormat('<f4', (body.num_joints, 2), 1)
    # Half precision, since three digits of a confidence are enough.
    if 'body' in joint_scores:
        formats['body_joint_score'] = ArrayFormat('<f2', (body.num_joints,), 1)
    if 'hand' in joint_scores and hand is not None:
        formats['hand_joint_score'] = ArrayFormat('<f2', (hand.num_joints,), 2)
    return formats


def make_row(clip: Clip, offset: int, frame_offset: int) -> np.ndarray:
    """The index row of a clip, without its checksum, () of ``ROW``."""
    row = np.zeros((), ROW)
    for name in ('clip_id', *TEXT_FIELDS, 'video'):
        row[name] = _encode(clip, name)
    row['offset'], row['frame_offset'] = offset, frame_offset
    row['persons'], row['frames'] = clip.num_persons, clip.num_frames
    row['label'], row['fps'] = clip.label, clip.fps
    row['width'], row['height'] = clip.image_size
    return row


def _encode(clip: Clip, name: str) -> bytes:
    text, size = getattr(clip, name), ROW[name].itemsize
    data = to_bytes(text) if isinstance(text, str) else b'\0'
    if len(data) > size or b'\0' in data or from_bytes(data) != text:
        raise ClipError(
            f'clip {clip.clip_id!r}',
            f'{name} {text!r} of {len(data)} bytes',
            f'a string of at most {size} bytes in UTF-8, without a zero byte or half a character',
            'shorten it (paths relative to the data set)' if isinstance(text, str) else 'use str()',
        )
    return data


def checksum(row: np.ndarray, arrays: Iterable[np.ndarray]) -> int:
    """CRC-32 of the index row (with 0 in its own field) and the clip's arrays."""
    row = row.copy()
    row['crc32'] = 0
    value = zlib.crc32(row.tobytes())
    for array in arrays:
        value = zlib.crc32(np.ascontiguousarray(array), value)
    return value


def all_joints(arrays: Mapping[str, np.ndarray], part: str) -> np.ndarray:
    """Joint scores of a clip that has none: 1 in each visible frame, (..., 1) bool."""
    return (arrays[f'{part}_score'] > 0)[..., None]


def checked(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The arrays of a clip that its checksum covers, in order.

    Joint scores without missing joints, see ``all_joints``, are left out. So a clip has the same
    checksum in a store with and without joint scores.
    """
    said = []
    for name, array in arrays.items():
        part = name.removesuffix('_joint_score')
        if part == name or not np.array_equal(
            array, np.broadcast_to(all_joints(arrays, part), array.shape)
        ):
            said.append(array)
    return said


def expected_bytes(meta: dict[str, Any], formats: dict[str, ArrayFormat]) -> dict[str, int]:
    """File name to the bytes that the last commit covers."""
    sizes = {INDEX_FILE: meta['num_clips'] * ROW.itemsize}
    for name, item in formats.items():
        sizes[f'{name}.bin'] = item.num_bytes(meta['person_frames'], meta['frames'])
    return sizes


def read_meta(path: Path) -> dict[str, Any]:
    """Reads and checks ``store.json``."""
    file = path / META_FILE
    if not file.is_file():
        raise StoreError(
            f'{path}',
            'no clip store' if path.is_dir() else 'no such folder',
            f'a folder with {META_FILE}',
            'correct the path, or make the store with one of tools/data',
        )
    try:
        meta = load_json(file)
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f'{file}',
            f'damaged JSON ({error})',
            'a store description',
            'restore it or convert again',
        ) from None
    keys = {'name', 'body_layout', 'hand_layout', 'channels', 'classes', 'splits', 'pixels'}
    keys |= {'version', 'num_clips', 'person_frames', 'frames'}
    whole = isinstance(meta, dict) and meta.get('format') == FORMAT and keys <= set(meta)
    counts = ('num_clips', 'person_frames', 'frames')
    if not whole or not all(isinstance(meta[key], int) and meta[key] >= 0 for key in counts):
        raise StoreError(
            f'{file}',
            'other content',
            f'format {FORMAT!r} with {sorted(keys)}',
            'convert the store again',
        )
    _check_types(file, meta)
    if meta['version'] != VERSION:
        raise StoreError(
            f'{file}',
            f'format version {meta["version"]}',
            f'version {VERSION}',
            'convert the data again with this version, or install the version that wrote it',
        )
    return meta


def _check_types(file: Path, meta: dict[str, Any]) -> None:
    classes, splits, channels = meta['classes'], meta['splits'], meta['channels']
    right = {
        'name': isinstance(meta['name'], str),
        'classes': isinstance(classes, list) and all(isinstance(name, str) for name in classes),
        'splits': isinstance(splits, dict) and all(isinstance(r, dict) for r in splits.values()),
        'pixels': isinstance(meta['pixels'], bool),
        'channels': isinstance(channels, dict)
        and all(
            isinstance(channels.get(part), list)
            and 0 < len(channels[part]) <= MAX_CHANNELS
            and all(isinstance(name, str) for name in channels[part])
            for part in ('body', 'hand')
        ),
    }
    wrong = [key for key, value in right.items() if not value]
    if wrong:
        raise StoreError(
            f'{file}',
            f'a damaged description, {wrong[0]} = {repr(meta[wrong[0]])[:80]}',
            'the type that a store description has there',
            FIX,
        )


def read_layouts(meta: dict[str, Any]) -> tuple[tuple[SkeletonLayout, SkeletonLayout | None], dict]:
    """The (body, hand) layouts and the channel names of a store."""
    try:
        hand = None if meta['hand_layout'] is None else get_layout(meta['hand_layout'])
        channels = {part: tuple(meta['channels'][part]) for part in ('body', 'hand')}
        return (get_layout(meta['body_layout']), hand), channels
    except (BHaRNetError, KeyError, TypeError) as error:
        raise StoreError(
            f'store {meta["name"]!r}, {META_FILE}',
            f'a damaged description ({error})',
            'layouts and channels',
            'restore it or convert the store again',
        ) from None
