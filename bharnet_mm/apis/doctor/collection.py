"""A common interface of clip stores and annotation pickles for the checks."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from ...datasets.clip import Clip
from ...datasets.extraction.output import SETTINGS_FILE
from ...datasets.sources import pyskl
from ...datasets.sources.keypoint_form import form_of, layout_of
from ...datasets.store import ClipStore
from ...datasets.store.format import META_FILE, checked, checksum
from ...errors import BHaRNetError, ConfigError, SourceError, StoreError
from ...io.names import to_bytes
from ...layouts import get_layout
from .diagnosis import Finding

_FIELDS = ('subject', 'camera', 'setup', 'source', 'video')


class Collection:
    """A collection of clips, with facts that are known without reading them.

    Attributes:
        path: Path of the store or pickle.
        name: Name of the data set.
        kind: ``clip store`` or ``annotation pickle``.
        classes: Class names.
        body_layout: Layout of the bodies.
        hand_layout: Layout of the hands, None if there are none.
        labels: Class numbers, (n,).
        rules: Split name to rule, ``{}`` if the split is a list of ids.
        repairs: Repair to the numbers of the clips read so far that needed it.
        findings: Findings at the opening.
        masks: Name of each usable split to its clips, (n,) bool.
    """

    kind = ''
    extracted = False  # whether our extraction found the hands

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.findings: list[Finding] = []
        self.masks: dict[str, np.ndarray] = {}
        self.rules: dict[str, dict] = {}
        self.repairs: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def clip(self, i: int) -> Clip:
        """Clip number i. Raises an error of this package if it cannot be read."""
        raise NotImplementedError

    def intact(self, i: int, clip: Clip) -> bool:
        """Whether a clip agrees with its checksum."""
        return True

    def column(self, field: str) -> np.ndarray:
        """``subject``, ``camera``, ``setup``, ``source`` or ``video`` of all clips, (n,) bytes."""
        raise NotImplementedError

    def ids(self, numbers: np.ndarray) -> tuple[str, ...]:
        """Ids of some clips."""
        raise NotImplementedError


class StoreCollection(Collection):
    """A clip store."""

    kind = 'clip store'

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path)
        self.store = store = ClipStore(path, check=False)  # intact() checks
        self.name, self.classes, self.labels = store.name, store.classes, store.labels
        self.body_layout = store.body_layout
        self.hand_layout = store.hand_layout if store.has_hands else None
        self.rules = store.splits
        self.extracted = (Path(path) / SETTINGS_FILE).is_file()
        for split in store.splits:
            try:
                rows = store.select(split)
            except ConfigError as error:
                message = f'split {split} cannot be used: {error.found}'
                self.findings.append(Finding('splits', 'error', message, error.fix))
                continue
            if absent := store.absent_values(split):
                lacking = '; '.join(f'{k} {", ".join(v[:8])}' for k, v in absent.items())
                message = f'split {split} names what no clip has: {lacking}'
                fix = 'right for a part of a data set; else convert the missing clips'
                count = sum(map(len, absent.values()))
                self.findings.append(Finding('splits', 'note', message, fix, count))
            self.masks[split] = np.zeros(len(store), bool)
            self.masks[split][rows] = True
        ids, counts = np.unique(store.column('clip_id'), return_counts=True)
        if (counts > 1).any():
            self.findings.append(_repeated_ids(ids[counts > 1]))

    def clip(self, i: int) -> Clip:
        """The clip at position ``i``; its checksum is not compared."""
        return self.store[i]

    def intact(self, i: int, clip: Clip) -> bool:
        """Whether the clip's arrays have the checksum of its index row."""
        arrays = checked({name: getattr(clip, name) for name in self.store._formats})
        row = self.store._index[i]
        return checksum(row, arrays) == row['crc32']

    def column(self, field: str) -> np.ndarray:
        """One field of the index for all clips, (n,)."""
        return self.store.column(field)

    def ids(self, numbers: np.ndarray) -> tuple[str, ...]:
        """The ids of the clips at these positions."""
        return tuple(_text(value) for value in self.store.column('clip_id')[numbers])


class PickleCollection(Collection):
    """An annotation pickle of MMAction2 or pyskl, read without running code.

    A pickle is always in memory as a whole.
    """

    kind = 'annotation pickle'

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path)
        self.annotations, splits = pyskl.load_annotations(path)
        self.name = self.path.stem
        layout = layout_of(self.annotations)
        try:
            form = form_of(self.annotations)
        except ConfigError as error:
            self.findings.append(Finding('channels', 'error', f'found {error.found}', error.fix))
            form = form_of(self.annotations, channels='xy')
        self._reader = pyskl.AnnotationReader(*form)
        self.body_layout = get_layout('coco') if self._reader.whole else layout
        self.hand_layout = get_layout('hand') if self._reader.whole else None
        self.classes = pyskl.class_names(self.annotations)
        labels = [a.get('label') for a in self.annotations]
        self.labels = np.array([-1 if label is None else int(label) for label in labels], np.int32)
        self._ids = [pyskl.annotation_id(a) for a in self.annotations]
        fields = [pyskl._name_fields(clip_id) for clip_id in self._ids]
        self._columns = {
            key: np.array([to_bytes(f.get(key, '')) for f in fields]) for key in _FIELDS
        }
        self._read_splits(splits)

    def _read_splits(self, splits: dict[str, list[str]]) -> None:
        repeated = [clip_id for clip_id, num in Counter(self._ids).items() if num > 1]
        if repeated:
            self.findings.append(_repeated_ids(repeated))
        for split, wanted in splits.items():
            absent = sorted(set(wanted) - set(self._ids))
            twice = [clip_id for clip_id, num in Counter(wanted).items() if num > 1]
            if absent:
                message = (
                    f'split {split} names {len(absent)} of {len(wanted)} clips that are not there'
                )
                fix = 'complete the annotations; MMAction2 leaves such clips out without a word'
                self._add('error', message, fix, absent)
            if twice:
                message = f'split {split} names {len(twice)} clips more than once'
                self._add('warning', message, 'name each clip once', twice)
            mask = np.isin(np.array(self._ids), np.array(wanted, dtype=str))
            if mask.any():
                self.masks[split], self.rules[split] = mask, {}
            else:
                self._add('error', f'split {split} holds no clip', 'fill it or remove it', [])

    def _add(self, severity: str, message: str, fix: str, examples: list[str]) -> None:
        count, some = len(examples), tuple(examples[:5])
        self.findings.append(Finding('splits', severity, message, fix, count, some))

    def clip(self, i: int) -> Clip:
        """The annotation at position ``i``, converted to a clip.

        Raises:
            SourceError: Nobody is visible in it, or its arrays are not those of a skeleton.
        """
        converted = self._reader(self.annotations[i])
        for repair in converted.repaired:
            self.repairs.setdefault(repair, set()).add(i)
        if not converted.clips:
            _, reason, detail = converted.refused[0]
            raise SourceError(
                f'annotation {self._ids[i]!r}',
                reason + (f' ({detail})' if detail else ''),
                'a clip in which somebody is seen',
                'leave it out of the pickle and of its splits',
            )
        return converted.clips[0]

    def column(self, field: str) -> np.ndarray:
        """One field of the file names for all clips, (n,) bytes; empty if a name lacks it."""
        return self._columns[field]

    def ids(self, numbers: np.ndarray) -> tuple[str, ...]:
        """The ids of the clips at these positions."""
        return tuple(self._ids[i] for i in np.asarray(numbers).tolist())


def open_collection(path: str | os.PathLike) -> Collection | Finding:
    """Opens a store or a pickle; if a whole store is damaged, returns a finding.

    Raises:
        BHaRNetError: The path is neither a store nor a pickle that can be read safely.
    """
    path = Path(path)
    if path.is_file() and path.name != META_FILE:
        return PickleCollection(path)
    path = path.parent if path.name == META_FILE else path
    try:
        return StoreCollection(path)
    except StoreError as error:
        if not (path / META_FILE).is_file():
            raise
        return Finding('integrity', 'error', f'the store cannot be opened: {error}', error.fix)


def problem(error: BHaRNetError) -> str:
    """The fault in one line, without the place."""
    return f'{error.found}, not {error.expected}' if error.found else str(error)


def _repeated_ids(ids: list[str] | np.ndarray) -> Finding:
    return Finding(
        'duplicates',
        'error',
        f'{len(ids)} clip ids are there more than once',
        'give each clip an id of its own: splits and scores go by it',
        len(ids),
        tuple(_text(clip_id) for clip_id in ids[:5]),
    )


def _text(value: str | bytes) -> str:
    return value.decode('utf-8', 'replace') if isinstance(value, bytes) else value
