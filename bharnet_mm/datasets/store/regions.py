"""The region store: region grids of many clips as JPEG, in the manner of the clip store.

::

    regions.json     what the grids are, and how much of the files is committed
    index.bin        one fixed-size row per clip: id, place and sizes of its pictures, masks, CRC-32
    grids.bin        the pictures, one after the other: one per offset and clip

The data files only ever grow; replacing ``regions.json`` makes what was added visible. What a crash left behind
it is cut off at the next opening.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...errors import BHaRNetError, ConfigError, SourceError, StoreError
from ..regions import RegionGrid
from .format import INDEX_FILE, LOCK_FILE, map_file
from .writer import _lock

FORMAT = 'bharnet_mm.region_store'
VERSION = 1
META_FILE = 'regions.json'
DATA_FILE = 'grids.bin'


def row_type(grid: RegionGrid) -> np.dtype:
    """A row of the index. ``size`` 0: the clip shows nobody, it has no picture."""
    shape = (grid.num_offsets, len(grid.parts), grid.num_frames)
    return np.dtype(
        [
            ('clip_id', 'S128'),
            ('offset', '<i8'),
            ('size', '<i4', (grid.num_offsets,)),
            ('mask', '?', shape),
            ('crc32', '<u4'),
        ]
    )


class RegionStore:
    """Region grids opened for reading: memory-mapped, shared by workers; pickling sends the path only.

    Args:
        path: The folder.

    Raises:
        StoreError: No region store, or damaged files.

    Attributes:
        grid: The ``RegionGrid`` of all its pictures.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.meta = _read_meta(self.path)
        self.grid = RegionGrid(**self.meta['grid'])
        kind = row_type(self.grid)
        size = self.meta['num_clips'] * kind.itemsize
        self._index = map_file(self.path / INDEX_FILE, size).view(kind)
        self._data = map_file(self.path / DATA_FILE, self.meta['num_bytes'])
        ids = np.ascontiguousarray(self._index['clip_id'])
        self._order = np.argsort(ids, kind='stable')
        self._sorted = ids[self._order]

    def __reduce__(self):
        return type(self), (self.path,)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({str(self.path)!r}, num_clips={len(self)}, {self.grid})'

    def __len__(self) -> int:
        return len(self._index)

    @property
    def clip_ids(self) -> list[str]:
        """Clip ids in the order of the store."""
        return [raw.decode() for raw in self._index['clip_id'].tolist()]

    def check_grid(self, grid: RegionGrid) -> None:
        """Raises ConfigError unless the pictures are of this kind."""
        have, want = self.grid.to_dict(), grid.to_dict()
        wrong = [key for key in want if want[key] != have[key]]
        if wrong:
            raise ConfigError(
                f'region store {str(self.path)!r}',
                ', '.join(f'{key}={have[key]!r}' for key in wrong),
                ', '.join(f'{key}={want[key]!r}' for key in wrong),
                'set these arguments to what the store has, or extract another',
            )

    def read(self, clip_id: str, offset: int) -> tuple[np.ndarray, np.ndarray]:
        """One grid of a clip.

        Args:
            clip_id: The clip.
            offset: From 0 to ``grid.num_offsets - 1``.

        Returns:
            ``(3, H, W)`` uint8 and its mask ``(R, F)``.

        Raises:
            SourceError: The clip is not there (extraction refused it, or has not come to it).
            StoreError: Its picture is damaged.
        """
        row = self._find(clip_id)
        size = row['size'].astype(np.int64)
        if not size[offset]:
            return self.grid.empty()
        begin = int(row['offset']) + int(size[:offset].sum())
        data = self._data[begin : begin + int(size[offset])]
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) == size[offset] else None
        if image is None or image.shape[:2] != self.grid.shape:
            raise StoreError(
                f'{self.path}, clip {clip_id!r}',
                'a damaged picture',
                'a JPEG of the size of a grid',
                'extract the regions again into a new folder',
            )
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)
        return np.ascontiguousarray(rgb), row['mask'][offset].copy()

    def verify(self) -> list[str]:
        """Ids of the clips whose row or pictures fail their checksum; empty if all is well."""
        damaged = []
        for row in self._index:
            begin = int(row['offset'])
            data = self._data[begin : begin + int(row['size'].sum())]
            if _checksum(row, data) != row['crc32']:
                damaged.append(row['clip_id'].decode('utf-8', 'replace'))
        return damaged

    def _find(self, clip_id: str) -> np.void:
        raw = np.bytes_(clip_id.encode())
        place = int(np.searchsorted(self._sorted, raw))
        if place == len(self._sorted) or self._sorted[place] != raw:
            raise SourceError(
                f'clip {clip_id!r}',
                f'no regions of it in {self.path}',
                f'one of its {len(self)} clips',
                "see refused.json there, continue the extraction, or set missing='mask'",
            )
        return self._index[self._order[place]]


class RegionWriter:
    """Writes a region store, or continues one; a context manager that commits at the end.

    Args:
        path: The folder, made if needed.
        grid: What the grids are; must be the same where the store is continued.
        quality: Of the JPEG pictures, 1 to 100; likewise.

    Raises:
        StoreError: A store of other grids, a damaged one, or another writer at work.
    """

    def __init__(self, path: str | os.PathLike, grid: RegionGrid, quality: int = 90) -> None:
        self.path, self.grid = Path(path), grid
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.path / LOCK_FILE)
        self._files: dict[str, Any] = {}
        try:
            self._open(quality)
        except BaseException:
            self.close()
            raise

    def _open(self, quality: int) -> None:
        fresh = dict(format=FORMAT, version=VERSION, grid=self.grid.to_dict(), quality=quality)
        self.clip_ids: set[str] = set()
        self.meta = fresh | dict(num_clips=0, num_bytes=0)
        if (self.path / META_FILE).exists():
            store = RegionStore(self.path)
            store.check_grid(self.grid)
            if store.meta['quality'] != quality:
                raise ConfigError(
                    f'region store {str(self.path)!r}',
                    f'pictures of quality {store.meta["quality"]}',
                    f'{quality}',
                    'continue with the quality it was begun with, or write another store',
                )
            self.meta, self.clip_ids = store.meta, set(store.clip_ids)
        row = row_type(self.grid).itemsize
        sizes = {INDEX_FILE: self.meta['num_clips'] * row, DATA_FILE: self.meta['num_bytes']}
        for name, size in sizes.items():
            stream = open(self.path / name, 'r+b' if self.clip_ids else 'w+b', buffering=1 << 20)
            self._files[name] = stream
            stream.truncate(size)
            stream.seek(size)

    def __enter__(self) -> RegionWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.close()

    def add(self, clip_id: str, pictures: list[bytes], masks: np.ndarray) -> None:
        """Appends a clip; visible with the next ``commit``.

        Args:
            clip_id: Not in the store yet.
            pictures: JPEG bytes of each offset, as ``encode`` makes them; empty ones for a clip that shows nobody.
            masks: ``(S, R, F)``.
        """
        raw = clip_id.encode()
        if clip_id in self.clip_ids or not 0 < len(raw) <= 128:
            raise StoreError(
                f'{self.path}, clip {clip_id!r}',
                'the id again' if clip_id in self.clip_ids else f'an id of {len(raw)} bytes',
                'each id once, of 1 to 128 bytes',
                'give clips unique, shorter ids',
            )
        row = np.zeros((), row_type(self.grid))
        row['clip_id'], row['offset'] = raw, self.meta['num_bytes']
        row['size'], row['mask'] = [len(picture) for picture in pictures], masks
        data = b''.join(pictures)
        row['crc32'] = _checksum(row, np.frombuffer(data, np.uint8))
        self._files[DATA_FILE].write(data)
        self._files[INDEX_FILE].write(row.tobytes())
        self.clip_ids.add(clip_id)
        self.meta['num_clips'] += 1
        self.meta['num_bytes'] += len(data)

    def commit(self) -> None:
        """Makes all added clips visible, atomically and durably."""
        for stream in self._files.values():
            stream.flush()
            os.fsync(stream.fileno())
        draft = self.path / f'{META_FILE}.tmp'
        with open(draft, 'w', encoding='utf-8') as stream:
            json.dump(self.meta, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, self.path / META_FILE)

    def close(self) -> None:
        """Closes the files; what was added since the last commit is lost."""
        for stream in self._files.values():
            stream.close()
        self._files = {}
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def encode(rgb: np.ndarray, quality: int) -> bytes:
    """A grid ``(3, H, W)`` uint8 as JPEG, colours at full resolution: cells are small, and so are halves of them."""
    image = cv2.cvtColor(np.ascontiguousarray(rgb.transpose(1, 2, 0)), cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode('.jpg', image, options)[1].tobytes()


def _checksum(row: np.ndarray, data: np.ndarray) -> int:
    row = row.copy()
    row['crc32'] = 0
    return zlib.crc32(np.ascontiguousarray(data), zlib.crc32(row.tobytes()))


def _read_meta(path: Path) -> dict[str, Any]:
    file = path / META_FILE
    keys = {'format', 'version', 'grid', 'quality', 'num_clips', 'num_bytes'}
    try:
        meta = json.loads(file.read_text(encoding='utf-8'))
        if not (isinstance(meta, dict) and meta.get('format') == FORMAT and keys <= set(meta)):
            raise ValueError('other content')
        if meta['version'] != VERSION:
            raise ValueError(f'version {meta["version"]}')
        RegionGrid(**meta['grid'])
    except (OSError, ValueError, TypeError, BHaRNetError) as error:
        raise StoreError(
            str(path),
            f'no region store ({error})',
            f'a folder with {META_FILE} of version {VERSION}',
            'correct the path, or make it with tools/data/extract_rois.py',
        ) from None
    return meta
