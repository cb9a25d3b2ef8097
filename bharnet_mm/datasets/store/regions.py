"""The region store: region grids of many clips as JPEG, in files like those of the clip store.

::

    regions.json     what the grids are, and how much of the files is committed
    index.bin        one fixed-size row per clip: id, place and sizes of its images, masks, CRC-32
    grids.bin        the images, one after the other: one per offset and clip; in grids with
                     motion, a second, grey one after each

The data files only grow. Replacing ``regions.json`` commits what was added. Bytes that a crash left
after the last commit are removed at the next opening.
"""

from __future__ import annotations

import io
import mmap
import os
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ...errors import BHaRNetError, ConfigError, SourceError, StoreError
from ...io.guard import reading
from ...io.names import from_bytes, to_bytes
from ...io.text import load_json
from ..regions import RegionGrid
from .append_only import AppendOnlyFolder
from .files import StoreFile
from .format import FIX, INDEX_FILE

FORMAT = 'bharnet_mm.region_store'
VERSION = 2
#: Version 1 has no motion.
_READ = (1, 2)
META_FILE = 'regions.json'
DATA_FILE = 'grids.bin'


def row_type(grid: RegionGrid) -> np.dtype:
    """The type of a row of the index. ``size`` 0 means that nobody is visible in the clip, so it
    has no grid. ``size`` is that of the image and of its motion together, ``motion_size`` that of
    the latter; it is there in grids with motion.
    """
    motion = [('motion_size', '<i4', (grid.num_offsets,))] if grid.motion else []
    shape = (grid.num_offsets, len(grid.parts), grid.num_frames)
    return np.dtype(
        [
            ('clip_id', 'S128'),
            ('offset', '<i8'),
            ('size', '<i4', (grid.num_offsets,)),
            *motion,
            ('mask', '?', shape),
            ('crc32', '<u4'),
        ]
    )


class RegionStore:
    """A region store opened for reading. It is memory-mapped and shared by workers; only its path
    is pickled.

    Args:
        path: The folder.
        check: Whether each clip's checksum is compared the first time that it is read.

    Raises:
        StoreError: There is no region store, or its files are damaged.

    Attributes:
        grid: The ``RegionGrid`` of all its grids.
    """

    def __init__(self, path: str | os.PathLike, check: bool = True) -> None:
        self.path, self.check = Path(path), check
        with reading(self.path / META_FILE, 'the description of a region store', FIX, StoreError):
            self._open()

    def _open(self) -> None:
        self.meta = _read_meta(self.path)
        self.grid = RegionGrid(**self.meta['grid'])
        kind = row_type(self.grid)
        size = self.meta['num_clips'] * kind.itemsize
        self._row_type = kind
        self._index_file = StoreFile(self.path / INDEX_FILE, size)
        self._data = StoreFile(self.path / DATA_FILE, self.meta['num_bytes'])
        ids = np.ascontiguousarray(self._index['clip_id'])
        self._order = np.argsort(ids, kind='stable')
        self._sorted = ids[self._order]
        self._checked = np.frombuffer(mmap.mmap(-1, max(1, len(ids))), bool)

    def __reduce__(self):
        return type(self), (self.path, self.check)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({str(self.path)!r}, num_clips={len(self)}, {self.grid})'

    def __len__(self) -> int:
        return self.meta['num_clips']

    @property
    def _index(self) -> np.ndarray:
        """All rows, (n,) of ``row_type``, a view that is to be used at once."""
        return self._index_file.whole().view(self._row_type)

    @property
    def clip_ids(self) -> list[str]:
        """Clip ids in the order of the store."""
        with reading(self.path / INDEX_FILE, 'clip ids in UTF-8', FIX, StoreError):
            return [from_bytes(raw) for raw in self._index['clip_id'].tolist()]

    @property
    def shares(self) -> dict[str, float]:
        """Share of the cells of each part that show it, over all clips."""
        mask = self._index['mask']  # (clips, S, R, F)
        shares = mask.mean(axis=(0, 1, 3)) if len(mask) else np.zeros(len(self.grid.parts))
        return dict(zip(self.grid.parts, map(float, shares), strict=True))

    def check_grid(self, grid: RegionGrid, part_of: bool = False) -> None:
        """Raises ConfigError unless the grids have these settings.

        Args:
            grid: What is wanted.
            part_of: Whether grids with more parts, or with motion that is not wanted, will do.
        """
        have, want = self.grid.to_dict(), grid.to_dict()
        wrong = [key for key in want if want[key] != have[key]]
        if part_of and set(grid.parts) <= set(self.grid.parts):
            wrong = [key for key in wrong if key != 'parts']
        if part_of and self.grid.motion:
            wrong = [key for key in wrong if key != 'motion']
        if wrong:
            raise ConfigError(
                f'region store {str(self.path)!r}',
                ', '.join(f'{key}={have[key]!r}' for key in wrong),
                ', '.join(f'{key}={want[key]!r}' for key in wrong),
                'set these arguments to what the store has, or extract another',
            )

    def read(
        self, clip_id: str, offset: int, grid: RegionGrid | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """One grid of a clip.

        Args:
            clip_id: The clip.
            offset: From 0 to ``grid.num_offsets - 1``.
            grid: A part of the store's own (see ``check_grid``), by default that.

        Returns:
            ``(3, H, W)`` uint8, with motion ``(4, H, W)``, and its mask ``(R, F)``.

        Raises:
            SourceError: The clip is not in the store (it was refused, or not extracted yet).
            StoreError: Its grid is damaged.
        """
        number = self._find(clip_id)
        row = self._index[number].copy()
        where = f'{self.path}, clip {clip_id!r}'
        with reading(where, 'JPEG images of the size of a grid', FIX, StoreError):
            data = self._grids(row)
            if self.check and not self._checked[number]:
                if _checksum(row, data) != row['crc32']:
                    raise ValueError('a damaged grid or index row: its checksum is another')
                self._checked[number] = True
            size = row['size'].astype(np.int64)
            if not size[offset]:
                return (grid or self.grid).empty()
            begin = int(size[:offset].sum())
            end = begin + int(size[offset])
            middle = end - int(row['motion_size'][offset]) if self.grid.motion else end
            image = _decode(data[begin:middle], self.grid.shape, cv2.IMREAD_COLOR)
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            if self.grid.motion:
                grey = _decode(data[middle:end], self.grid.shape, cv2.IMREAD_GRAYSCALE)
                image = np.dstack([image, grey])
        rgb, mask = image.transpose(2, 0, 1), row['mask'][offset].copy()
        if grid is not None and grid != self.grid:
            rows = [self.grid.parts.index(part) for part in grid.parts]
            cells = self.grid.cells(np.ascontiguousarray(rgb[: grid.channels]))[:, rows]
            rgb, mask = cells.reshape(grid.channels, *grid.shape), mask[rows]
        return np.ascontiguousarray(rgb), mask

    def _grids(self, row: np.void) -> np.ndarray:
        """All JPEG bytes of a clip."""
        begin, size = int(row['offset']), row['size'].astype(np.int64)
        end = begin + int(size.sum())
        if (size < 0).any():
            raise ValueError('an index row with negative sizes')
        return self._data.read(begin, end)

    def verify(self) -> list[str]:
        """Ids of the clips whose row or grids fail their checksum; empty if all is well."""
        damaged = []
        for row in self._index:
            try:
                good = _checksum(row, self._grids(row)) == row['crc32']
            except ValueError:
                good = False
            if not good:
                damaged.append(row['clip_id'].decode('utf-8', 'replace'))
        return damaged

    def _find(self, clip_id: str) -> int:
        raw = np.bytes_(to_bytes(clip_id))
        place = int(np.searchsorted(self._sorted, raw))
        if place == len(self._sorted) or self._sorted[place] != raw:
            raise SourceError(
                f'clip {clip_id!r}',
                f'no regions of it in {self.path}',
                f'one of its {len(self)} clips',
                "see refused.json there, continue the extraction, or set missing='mask'",
            )
        return int(self._order[place])


class RegionWriter:
    """Writes a region store, or continues one; a context manager that commits at the end.

    Args:
        path: The folder, made if needed.
        grid: Settings of the grids; must be the same if a store is continued.
        quality: Quality of the JPEG files, 1 to 100; must be the same too.

    Raises:
        StoreError: The store has other grids or is damaged, or another process is writing.
    """

    def __init__(self, path: str | os.PathLike, grid: RegionGrid, quality: int = 90) -> None:
        self.path, self.grid = Path(path), grid
        self._folder = AppendOnlyFolder(self.path, META_FILE)
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
                    f'images of quality {store.meta["quality"]}',
                    f'{quality}',
                    'continue with the quality it was begun with, or write another store',
                )
            self.meta = store.meta | dict(version=VERSION, grid=self.grid.to_dict())
            self.clip_ids = set(store.clip_ids)
        row = row_type(self.grid).itemsize
        sizes = {INDEX_FILE: self.meta['num_clips'] * row, DATA_FILE: self.meta['num_bytes']}
        self._folder.open(sizes)

    def __enter__(self) -> RegionWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.close()

    def add(self, clip_id: str, grids: list[tuple[bytes, bytes]], masks: np.ndarray) -> None:
        """Appends a clip; visible with the next ``commit``.

        Args:
            clip_id: Not in the store yet.
            grids: JPEG bytes of each offset, as ``encode`` makes them; empty ones for a clip that
                shows nobody.
            masks: ``(S, R, F)``.
        """
        raw = to_bytes(clip_id)
        if clip_id in self.clip_ids or not 0 < len(raw) <= 128:
            raise StoreError(
                f'{self.path}, clip {clip_id!r}',
                'the id again' if clip_id in self.clip_ids else f'an id of {len(raw)} bytes',
                'each id once, of 1 to 128 bytes',
                'give clips unique, shorter ids',
            )
        row = np.zeros((), row_type(self.grid))
        row['clip_id'], row['offset'] = raw, self.meta['num_bytes']
        row['size'], row['mask'] = [len(rgb) + len(motion) for rgb, motion in grids], masks
        if self.grid.motion:
            row['motion_size'] = [len(motion) for _, motion in grids]
        data = b''.join(rgb + motion for rgb, motion in grids)
        row['crc32'] = _checksum(row, np.frombuffer(data, np.uint8))
        self._folder.append({DATA_FILE: data, INDEX_FILE: row.tobytes()})
        self.clip_ids.add(clip_id)
        self.meta['num_clips'] += 1
        self.meta['num_bytes'] += len(data)

    def commit(self) -> None:
        """Makes all added clips visible, atomically and durably."""
        self._folder.commit(self.meta)

    def close(self) -> None:
        """Closes the files; what was added since the last commit is lost."""
        self._folder.close()


def encode(rgb: np.ndarray, quality: int) -> tuple[bytes, bytes]:
    """A grid ``(3 or 4, H, W)`` uint8 as JPEG, and its motion, empty where it has none.

    Colours are kept at full resolution: cells are small, and so are halves of them.
    """
    image = cv2.cvtColor(np.ascontiguousarray(rgb[:3].transpose(1, 2, 0)), cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    colours = cv2.imencode('.jpg', image, options)[1].tobytes()
    if len(rgb) == 3:
        return colours, b''
    return colours, cv2.imencode('.jpg', np.ascontiguousarray(rgb[3]), options[:2])[1].tobytes()


def _decode(data: np.ndarray, shape: tuple[int, int], kind: int) -> np.ndarray:
    """An image, (H, W, 3) BGR or (H, W) grey; its header is looked at before anything is made for
    its size.
    """
    with Image.open(io.BytesIO(data), formats=('JPEG',)) as header:
        if header.size[::-1] != shape:
            raise ValueError(f'an image of {header.size[1]} x {header.size[0]}')
    image = cv2.imdecode(data, kind)
    if image is None or image.shape[:2] != shape:
        raise ValueError('a damaged grid')
    return image


def _checksum(row: np.ndarray, data: np.ndarray) -> int:
    row = row.copy()
    row['crc32'] = 0
    return zlib.crc32(np.ascontiguousarray(data), zlib.crc32(row.tobytes()))


def _read_meta(path: Path) -> dict[str, Any]:
    file = path / META_FILE
    keys = {'format', 'version', 'grid', 'quality', 'num_clips', 'num_bytes'}
    try:
        meta = load_json(file)
        if not (isinstance(meta, dict) and meta.get('format') == FORMAT and keys <= set(meta)):
            raise ValueError('other content')
        if meta['version'] not in _READ:
            raise ValueError(f'version {meta["version"]}')
        RegionGrid(**meta['grid'])
    except (OSError, ValueError, TypeError, BHaRNetError) as error:
        raise StoreError(
            str(path),
            f'no region store ({error})',
            f'a folder with {META_FILE} of one of the versions {_READ}',
            'correct the path, or make it with tools/data/extract_regions.py',
        ) from None
    return meta
