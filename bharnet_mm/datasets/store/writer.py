"""Writing a clip store."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, StoreError
from ...io.names import repeated, same_form
from ...layouts import SkeletonLayout, get_layout
from ..clip import Clip
from ..joints import MIN_SCORE, with_joints_filled
from .append_only import AppendOnlyFolder
from .format import (
    FORMAT,
    INDEX_FILE,
    META_FILE,
    VERSION,
    all_joints,
    array_formats,
    checked,
    checksum,
    expected_bytes,
    make_row,
    read_layouts,
    read_meta,
)
from .reader import ClipStore
from .splits import check_rule, plain_rule


class StoreWriter:
    """Writes a clip store; a context manager.

    ``add`` appends clips. ``commit`` makes all of them visible at once: it flushes the data files
    to disk and then replaces ``store.json``. Leaving the context without an exception commits.
    Bytes that a crash left after the last commit are removed at the next opening.

    Args:
        path: The folder, made if needed.
        name: Name of the store. With ``append``, this and the following arguments default to those
            of the store.
        body_layout: Layout of the bodies; its definition is stored.
        hand_layout: Layout of the hands, or None for a store without hands.
        body_channels: Names of the body's channels.
        hand_channels: Names of the hands' channels.
        classes: Class names in the order of their numbers. With ``append``, classes that the store
            lacks are added at its end. The labels of added clips are numbers in this list and are
            converted to the store's numbers by name.
        splits: Split name to rule, see ``splits.check_rule``. With ``append`` they are added to
            the store's.
        pixels: Whether every clip has ``body_pixel``.
        append: Continue a store, or start it if there is none. Without it an existing store is an
            error.

    Raises:
        StoreError: The store exists, differs from the arguments, is damaged, or another writer has
            it open.
        ConfigError: An argument is missing or malformed.
    """

    _UNSET: Any = object()

    def __init__(
        self,
        path: str | os.PathLike,
        name: str | None = None,
        body_layout: str | dict | SkeletonLayout | None = None,
        hand_layout: str | dict | SkeletonLayout | None = _UNSET,
        body_channels: Sequence[str] | None = None,
        hand_channels: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        splits: Mapping[str, Mapping] | None = None,
        pixels: bool | None = None,
        append: bool = False,
    ) -> None:
        self.path = Path(path)
        for key, rule in (splits or {}).items():
            check_rule(rule, f'split {key!r}')
        given = {
            'name': name,
            'body_layout': None if body_layout is None else get_layout(body_layout).to_dict(),
            'channels': _channels(body_channels, hand_channels),
            'classes': None if classes is None else [same_form(str(item)) for item in classes],
            'pixels': pixels,
        }
        if hand_layout is None:
            given['hand_layout'] = None
        elif hand_layout is not self._UNSET:
            given['hand_layout'] = get_layout(hand_layout).to_dict()
        self._folder = AppendOnlyFolder(self.path, META_FILE)
        try:
            self._open(given, dict(splits or {}), append)
        except BaseException:
            self.close()
            raise

    def _open(self, given: dict[str, Any], splits: dict[str, Mapping], append: bool) -> None:
        exists = (self.path / META_FILE).exists()
        if exists and not append:
            raise StoreError(
                f'{self.path}',
                'a clip store',
                'an empty folder',
                'choose another folder, delete the store, or continue it with append=True',
            )
        self.meta = read_meta(self.path) if exists else _new_meta(self.path, given)
        self._labels = self._merge_classes(given.pop('classes'))
        _compare(self.path, self.meta, given)
        rules = {key: plain_rule(rule) for key, rule in splits.items()}
        self.meta['splits'] = {**self.meta['splits'], **rules}
        (self.body_layout, self.hand_layout), channels = read_layouts(self.meta)
        self._formats = array_formats(
            self.body_layout,
            self.hand_layout,
            channels,
            self.meta['pixels'],
            self.meta.get('joint_scores', ()),
        )
        self.clip_ids: set[str] = set(ClipStore(self.path).clip_ids.tolist()) if exists else set()
        self._folder.open(expected_bytes(self.meta, self._formats))

    def _merge_classes(self, given: list[str] | None) -> list[int] | None:
        """Adds classes that the store lacks at its end.

        Returns:
            Number in the store of each class that was given; None if the numbers are the same.
        """
        have = self.meta['classes']
        if given is None or given == have:
            return None
        if twice := repeated(given):
            raise ConfigError(
                f'clip store {self.path}',
                f'classes {twice} repeated',
                'unique class names',
                'rename them',
            )
        have = self.meta['classes'] = list(dict.fromkeys([*have, *given]))
        number = {name: i for i, name in enumerate(have)}
        return [number[name] for name in given]

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.close()

    def add(self, clip: Clip) -> None:
        """Validates a clip and appends it. It becomes visible with the next ``commit``.

        Coordinates of missing entries are stored as 0. Single missing joints are filled, see
        ``with_joints_filled``. In a clip without joint scores no joint of a visible frame is
        missing.

        Raises:
            ClipError: The content of the clip is wrong.
            StoreError: The id is already in the store, or the data could not be written.
        """
        self._folder.check_open()
        classes = self.meta['classes'] if self._labels is None else self._labels
        clip.validate(self.body_layout, self.hand_layout, len(classes))
        label = clip.label if self._labels is None else self._labels[clip.label]
        clip = replace(clip, clip_id=same_form(clip.clip_id), label=label)
        if clip.clip_id in self.clip_ids:
            raise StoreError(
                f'{self.path}, clip {clip.clip_id!r}',
                'a clip of this id in the store',
                'each clip id once',
                'give clips unique ids; when resuming, skip what is in clip_ids',
            )
        clip = with_joints_filled(clip, self.body_layout, self.hand_layout)
        self._agree_on_units(clip)
        self._keep_joint_scores(clip)
        arrays = self._pack(clip)
        row = make_row(clip, self.meta['person_frames'], self.meta['frames'])
        row['crc32'] = checksum(row, checked(arrays))
        parts = {f'{name}.bin': array.reshape(-1).data for name, array in arrays.items()}
        self._folder.append(parts | {INDEX_FILE: row.tobytes()})
        self.clip_ids.add(clip.clip_id)
        self.meta['num_clips'] += 1
        self.meta['person_frames'] += clip.num_persons * clip.num_frames
        self.meta['frames'] += clip.num_frames

    def _keep_joint_scores(self, clip: Clip) -> None:
        """Creates the files of joint scores at the first clip with missing joints."""
        parts = list(self.meta.get('joint_scores', []))
        for part in ('body', 'hand'):
            score = getattr(clip, f'{part}_joint_score')
            none = part == 'hand' and self.hand_layout is None
            if part in parts or score is None or none:
                continue
            plain = (getattr(clip, f'{part}_score') > 0)[..., None]
            if np.array_equal(np.where(plain, score, 0), np.broadcast_to(plain, score.shape)):
                continue
            parts.append(part)
            self._begin_joint_scores(part, parts)

    def _begin_joint_scores(self, part: str, parts: list[str]) -> None:
        """Creates a file of joint scores in which the clips so far have no missing joints."""
        channels = {name: tuple(names) for name, names in self.meta['channels'].items()}
        self._formats = array_formats(
            self.body_layout, self.hand_layout, channels, self.meta['pixels'], parts
        )
        name = f'{part}_joint_score'
        item = self._formats[name]
        self._folder.open({f'{name}.bin': 0})
        with open(self.path / f'{part}_score.bin', 'rb') as scores:
            while data := scores.read(1 << 20):
                visible = all_joints({f'{part}_score': np.frombuffer(data, '<f4')}, part)
                visible = np.broadcast_to(visible, (len(visible), *item.row)).astype(item.dtype)
                self._folder.append({f'{name}.bin': visible.tobytes()})
        self.meta['joint_scores'] = parts

    def _agree_on_units(self, clip: Clip) -> None:
        """Takes the units of the store from the first clip that has them."""
        units = self.meta.get('units', {})
        for part, unit in zip(('body', 'hand'), clip.units, strict=True):
            score = getattr(clip, f'{part}_score')
            if not unit or not np.any(score > 0):
                continue
            if units.get(part, unit) == unit:
                self.meta['units'] = units = {**units, part: unit}
            else:
                clip._fail(
                    f'{part} coordinates in the unit {unit!r}',
                    f'{units[part]!r}, as in the other clips of the store',
                    'write clips of one unit to one store',
                )

    def _pack(self, clip: Clip) -> dict[str, np.ndarray]:
        """The clip's arrays in the form of the store, with 0 in missing entries."""
        visible = {'body': clip.body_score > 0, 'hand': clip.hand_score > 0}
        visible['body_pixel'] = visible['body']
        arrays = {}
        for name, item in self._formats.items():
            array = getattr(clip, name)
            if name.endswith('_joint_score'):
                shown = visible[name.removesuffix('_joint_score')][..., None]
                array = shown if array is None else np.where(shown, _kept(array), 0)
                array = np.broadcast_to(array, (*shown.shape[:-1], *item.row))
            if array is None or (item.row and array.shape[-len(item.row) :] != item.row):
                clip._fail(
                    f'{name} of shape {None if array is None else array.shape}',
                    f'{item.row} joints and channels as the store {str(self.path)!r} holds',
                    'give all clips of a store the same channels, and pixels to all or none',
                )
            if name in visible:
                array = np.where(visible[name][..., None, None], array, 0)
            arrays[name] = np.ascontiguousarray(array, dtype=item.dtype)
        if clip.body_pixel is not None and 'body_pixel' not in arrays:
            clip._fail(
                'body_pixel',
                f'None, as the store {str(self.path)!r} holds no pixels',
                'open the writer with pixels=True or leave body_pixel out',
            )
        return arrays

    def commit(self) -> None:
        """Makes all added clips visible, atomically and durably."""
        self._folder.commit(self.meta)

    def close(self) -> None:
        """Closes the files; clips added since the last commit are lost."""
        self._folder.close()


def _kept(score: np.ndarray) -> np.ndarray:
    """Joint scores that half precision does not round to 0."""
    return np.where(score > 0, np.maximum(score, MIN_SCORE), 0)


def _channels(
    body: Sequence[str] | None, hand: Sequence[str] | None
) -> dict[str, list[str]] | None:
    """The given channel names, by body and hand."""
    return {k: [str(c) for c in v] for k, v in (('body', body), ('hand', hand)) if v is not None}


def _new_meta(path: Path, given: dict[str, Any]) -> dict[str, Any]:
    for key in ('name', 'body_layout', 'classes'):
        if not given[key]:
            raise ConfigError(
                f'new clip store {path}', f'no {key}', f'a value for {key}', f'pass {key}=...'
            )
    if twice := repeated(given['classes']):
        raise ConfigError(
            f'new clip store {path}',
            f'classes {twice} repeated',
            'unique class names',
            'rename them',
        )
    return {
        'format': FORMAT,
        'version': VERSION,
        'name': given['name'],
        'body_layout': given['body_layout'],
        'hand_layout': given.get('hand_layout', get_layout('hand').to_dict()),
        'channels': {'body': ['x', 'y', 'z'], 'hand': ['x', 'y', 'z'], **given['channels']},
        'classes': given['classes'],
        'splits': {},
        'pixels': bool(given['pixels']),
        'num_clips': 0,
        'person_frames': 0,
        'frames': 0,
    }


def _compare(path: Path, meta: dict[str, Any], given: dict[str, Any]) -> None:
    """Raises an error if the store differs from the arguments."""
    for key, value in given.items():
        if value is None and key != 'hand_layout':
            continue
        have = meta[key]
        if key == 'channels':
            have = {part: have[part] for part in value}
        if json.loads(json.dumps(value)) != json.loads(json.dumps(have)):
            raise StoreError(
                f'{path}, {key}',
                f'{_short(have)} in the store',
                f'{_short(value)} as asked',
                'append with what the store has, or write another store',
            )


def _short(value: Any) -> str:
    text = repr(value['name'] if isinstance(value, dict) and 'name' in value else value)
    return text if len(text) <= 200 else text[:200] + '...'
