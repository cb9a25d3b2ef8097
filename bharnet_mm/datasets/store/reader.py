"""Reading a clip store."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from ...errors import ConfigError, StoreError
from ...io.guard import reading
from ...io.names import from_bytes, same_form, to_bytes
from ...layouts import get_layout
from ..clip import Clip, empty_hands
from ..coordinates import infer_units
from .files import StoreFile
from .format import (
    FIX,
    INDEX_FILE,
    META_FILE,
    ROW,
    TEXT_FIELDS,
    array_formats,
    checked,
    checksum,
    expected_bytes,
    read_layouts,
    read_meta,
)
from .splits import absent_values, match, values_of

_ASKED = 48  # clips from which unknown units are inferred


class ClipStore:
    """A clip store opened for reading.

    The index is memory-mapped read-only and a clip is copied when it is read, so opening costs
    milliseconds whatever the number of clips, and data-loader workers share the data through the
    page cache. Pickling sends the path only.

    Args:
        path: The folder of the store.
        check: Whether each clip's checksum is compared the first time that this process, or one
            that it was forked with, reads the clip.

    Raises:
        StoreError: There is no store, its files are damaged or truncated, or its format is newer.

    Attributes:
        meta: Content of ``store.json``.
        name: Name of the store.
        body_layout: Layout of the bodies.
        hand_layout: Layout of the hands, ``hand`` for a store without hands.
        has_hands: Whether the store holds hands at all.
        channels: Channel names of ``body`` and ``hand``.
        classes: Class names.
        splits: Split name to rule.
    """

    def __init__(self, path: str | os.PathLike, check: bool = True) -> None:
        self.path, self.check = Path(path), check
        with reading(self.path / META_FILE, 'the description of a clip store', FIX, StoreError):
            self._open()

    def _open(self) -> None:
        self.meta = read_meta(self.path)
        layouts, self.channels = read_layouts(self.meta)
        self.body_layout, hand = layouts
        self.has_hands = hand is not None
        self.hand_layout = hand or get_layout('hand')
        self.name: str = self.meta['name']
        self.classes: list[str] = self.meta['classes']
        self.splits: dict[str, dict] = self.meta['splits']
        self._formats = array_formats(
            self.body_layout,
            hand,
            self.channels,
            self.meta['pixels'],
            self.meta.get('joint_scores', ()),
        )
        sizes = expected_bytes(self.meta, self._formats)
        files = {name: StoreFile(self.path / name, size) for name, size in sizes.items()}
        self._index_file = files.pop(INDEX_FILE)
        # Each file with its bytes of a frame of a person, or of a frame.
        self._files = {
            name: (files[f'{name}.bin'], item.row_bytes * max(1, item.rows))
            for name, item in self._formats.items()
        }
        # Shared memory, so that a clip checked by one data-loader worker is not checked by the
        # others.
        self._checked = np.frombuffer(mmap.mmap(-1, max(1, len(self))), bool)

    def __reduce__(self):
        return type(self), (self.path, self.check)

    def __repr__(self) -> str:
        hand = self.hand_layout.name if self.has_hands else None
        return (
            f'{type(self).__name__}({str(self.path)!r}, name={self.name!r}, num_clips={len(self)}, '
            f'body_layout={self.body_layout.name!r}, hand_layout={hand!r})'
        )

    def __len__(self) -> int:
        return self.meta['num_clips']

    @property
    def _index(self) -> np.ndarray:
        """All rows, (n,) of ``ROW``, a view that is to be used at once."""
        return self._index_file.whole().view(ROW)

    @cached_property
    def units(self) -> tuple[str, str]:
        """Units of body and hands, see ``coordinates.UNITS``: from ``store.json``, or inferred from
        some of the clips (stores written before units were recorded).
        """
        said = self.meta.get('units', {})
        body, hand = said.get('body', ''), said.get('hand', '')
        if body and (hand or not self.has_hands):
            return body, hand
        sized = np.flatnonzero((self._index['width'] > 0) & (self._index['height'] > 0))
        some = sized[np.unique(np.linspace(0, len(sized) - 1, min(_ASKED, len(sized))).astype(int))]
        clips = []
        for i in some:
            try:
                clips.append(self._read(int(i), ('', '')))
            except StoreError:
                continue  # the error is raised when the clip is read
        hand_layout = self.hand_layout if self.has_hands else None
        found = infer_units(clips, self.body_layout, hand_layout)
        return body or found[0], hand or found[1]

    def __getitem__(self, i: int) -> Clip:
        """Clip number i; its arrays are read-only."""
        return self._read(i, self.units)

    def _read(self, i: int, units: tuple[str, str]) -> Clip:
        if not -len(self) <= i < len(self):
            raise IndexError(f'clip {i} of a store of {len(self)} clips')
        values = dict(zip(ROW.names, self._index[i].item(), strict=True))
        persons, frames = values['persons'], values['frames']
        try:
            arrays = self._slices(values['offset'], values['frame_offset'], persons, frames)
            if self.check and not self._checked[i]:
                if checksum(self._index[i], checked(arrays)) != values['crc32']:
                    raise ValueError('a checksum that is not that of the data')
                self._checked[i] = True
            texts = {name: from_bytes(values[name]) for name in ('clip_id', *TEXT_FIELDS, 'video')}
        except StoreError:
            raise
        except ValueError as error:
            raise StoreError(
                f'{self.path}, clip {i} ({values["clip_id"]!r})',
                f'damaged data or a damaged index row ({error})',
                'an undamaged index',
                'run verify() on the store and convert it again, or restore the folder from a copy',
            ) from None
        if not self.has_hands:
            channels = len(self.channels['hand'])
            joints = self.hand_layout.num_joints
            arrays['hand'], arrays['hand_score'] = empty_hands(persons, frames, joints, channels)
        return Clip(
            label=values['label'],
            image_size=(values['width'], values['height']),
            fps=values['fps'],
            units=units,
            **texts,
            **arrays,
        )

    def _slices(self, offset: int, first: int, persons: int, frames: int) -> dict[str, np.ndarray]:
        arrays = {}
        for name, item in self._formats.items():
            where, count = (offset, persons * frames) if item.rows else (first, frames)
            file, size = self._files[name]
            part = file.read(where * size, (where + count) * size).view(item.dtype)
            lead = (persons, frames) if item.rows == 1 else (persons, item.rows, frames)
            arrays[name] = part.reshape(*(lead if item.rows else (frames,)), *item.row)
        return arrays

    @cached_property
    def labels(self) -> np.ndarray:
        """Class numbers, (n,) int32, read-only."""
        return self.column('label')

    @property
    def clip_ids(self) -> np.ndarray:
        """Clip ids, (n,) of str. Decoded at each call, so that nothing per clip is kept."""
        with reading(self.path / INDEX_FILE, 'clip ids in UTF-8', FIX, StoreError):
            return np.char.decode(
                np.ascontiguousarray(self._index['clip_id']), 'utf-8', 'surrogateescape'
            )

    def column(self, field: str) -> np.ndarray:
        """A field of the index for all clips, (n,); texts are UTF-8 bytes. A read-only copy."""
        if field not in ROW.names:
            raise ConfigError(
                f'{self.path}',
                f'the field {field!r}',
                f'one of {list(ROW.names)}',
                'correct the name',
            )
        column = self._index[field].copy()
        column.flags.writeable = False
        return column

    def find(self, clip_id: str) -> int:
        """Number of the clip of this id.

        Raises:
            StoreError: There is no such clip.
        """
        forms = {to_bytes(name) for name in (clip_id, same_form(clip_id))}
        rows = np.flatnonzero(np.isin(self._index['clip_id'], list(forms)))
        if not rows.size:
            some = [
                str(name) for name in np.char.decode(self._index['clip_id'][:3], 'utf-8', 'replace')
            ]
            raise StoreError(
                f'{self.path}',
                f'no clip {clip_id!r}',
                f'one of its {len(self)} clips, such as {some}',
                'correct the clip id or convert the clip',
            )
        return int(rows[0])

    def select(self, split: str | Mapping | None = None) -> np.ndarray:
        """Numbers of the clips of a split, ascending, (n,) int64.

        Args:
            split: Name of a split of this store, a rule (see ``splits.check_rule``), or None for
                all clips.

        Raises:
            ConfigError: The name is unknown, the rule is malformed or selects nothing, or a rule
                given here has a value that no clip has. A split of the store may have such values
                (see ``absent_values``), since the store may be a part of the data set.
        """
        if split is None:
            return np.arange(len(self), dtype=np.int64)
        where = f'split of store {str(self.path)!r}'
        named = isinstance(split, str)
        if named:
            where = f'split {split!r} of store {str(self.path)!r}'
            if split not in self.splits:
                raise ConfigError(
                    where,
                    'no split of this name',
                    f'one of {sorted(self.splits)}, or a rule such as ' + "{'subject': ['1']}",
                    'correct the name or give the rule itself',
                )
            split = self.splits[split]
        chosen = match(self._index, self.classes, split, where, strict=not named)
        rows = np.flatnonzero(chosen).astype(np.int64)
        if not rows.size:
            raise ConfigError(
                where,
                f'that no clip matches {dict(split)}',
                f'at least one of the {len(self)} clips, which have '
                f'{values_of(self._index, split)}',
                'name values that the store holds, or convert the missing clips',
            )
        return rows

    def absent_values(self, split: str) -> dict[str, list[str]]:
        """Values of a split of the store that no clip has, by field."""
        return absent_values(self._index, self.classes, self.splits[split], f'split {split!r}')

    def verify(self) -> list[str]:
        """Ids of the clips whose data or index row fails its checksum; empty if all is well."""
        damaged = []
        for row in self._index:
            values = dict(zip(ROW.names, row.item(), strict=True))
            keys = ('offset', 'frame_offset', 'persons', 'frames')
            try:
                arrays = self._slices(*(values[key] for key in keys))
                good = checksum(row, checked(arrays)) == values['crc32']
            except ValueError:
                good = False
            if not good:
                damaged.append(values['clip_id'].decode('utf-8', 'replace'))
        return damaged
