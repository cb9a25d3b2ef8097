"""The output of extraction: store, settings, refused videos, and joining of shards."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError, StoreError
from ...io.atomic import write_json
from ...io.guard import reading
from ...io.text import read_json
from ..ingest import Report
from ..store import ClipStore, StoreWriter
from .estimators import estimator_class
from .own_splits import Labelled, OwnSplits
from .plan import Plan, make_plan, read_split_lists

#: Version of the algorithm. It is increased when the same videos give other bodies or hands.
ALGORITHM = 3
SETTINGS_FILE = 'extraction.json'
_EXPECTED = 'the settings of an extraction'
REFUSED_FILE = 'refused.json'


@dataclass(frozen=True)
class Settings:
    """The settings that decide the content of the result; they are written to ``extraction.json``.

    Args:
        backend, min_score: See ``build_estimator``.
        max_persons: Largest number of persons in plain videos.
        with_store: Whether the bodies come from a store.
        algorithm: Version of the extraction.
        library: Name and version of the backend's package; by default the one that is installed.
    """

    backend: str = 'mediapipe'
    min_score: float = 0.5
    max_persons: int = 2
    with_store: bool = False
    algorithm: int = ALGORITHM
    library: str = ''

    def __post_init__(self) -> None:
        if not self.library:
            package = next(iter(getattr(estimator_class(self.backend), 'packages', ())), '')
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                version = f'{package} {importlib.metadata.version(package)}' if package else ''
                object.__setattr__(self, 'library', version)


def shard_folder(out: Path, number: int, count: int) -> Path:
    """The folder of shard ``number`` of ``count`` below OUT."""
    return out / f'shard-{number}-of-{count}'


def check_settings(target: Path, settings: Settings) -> None:
    """Raises an error if a store is continued with other settings."""
    file, mine = target / SETTINGS_FILE, asdict(settings)
    if file.exists():
        _check_same(file, read_json(file, _EXPECTED), mine)
        return
    if (target / 'store.json').exists():
        raise StoreError(
            str(target),
            'a clip store that was not made by extraction',
            'a new folder, or an extraction to continue',
            'give another OUT',
        )
    target.mkdir(parents=True, exist_ok=True)
    write_json(file, mine)


def _check_same(file: Path, have: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Refuses other settings, since two kinds of bodies and hands would be mixed."""
    unknown = 'unknown, of an earlier version of bharnet_mm'
    differ = {key: (have.get(key, unknown), value) for key, value in mine.items()}
    differ = {key: pair for key, pair in differ.items() if pair[0] != pair[1]}
    if differ or not set(have) <= set(mine):
        raise ConfigError(
            str(file),
            ', '.join(f'{key} {old!r}' for key, (old, _) in differ.items()) or f'{dict(have)}',
            ', '.join(f'{key} {new!r}' for key, (_, new) in differ.items()) or f'{dict(mine)}',
            'continue with the settings and versions that it was begun with, or give another OUT',
        )


def open_writer(
    target: Path, plan: Plan, settings: Settings, source: ClipStore | None
) -> StoreWriter:
    """Opens the store, new or continued."""
    given = estimator_class(settings.backend)
    if source is None:
        return StoreWriter(
            target,
            name='videos',
            body_layout=given.body_layout,
            hand_layout='hand',
            body_channels=given.body_channels,
            hand_channels=given.hand_channels,
            classes=plan.classes,
            pixels=True,
            append=True,
        )
    return StoreWriter(
        target,
        name=source.name,
        body_layout=source.body_layout,
        hand_layout='hand',
        body_channels=source.channels['body'],
        hand_channels=given.hand_channels,
        classes=source.classes,
        splits=source.splits,
        pixels=source.meta['pixels'],
        append=True,
    )


def check_splits(
    target: Path,
    plan: Plan,
    source: ClipStore | None,
    lists: Mapping[str, list[str]],
    own: OwnSplits | None = None,
) -> None:
    """Checks before the work that the clips can be split as wanted.

    The clips are those of the plan and those that ``target`` has already.

    Raises:
        ConfigError: They cannot, or a split list names none of them.
    """
    wanted = [(job, clip_id) for job in plan.jobs for clip_id in job.clip_ids]
    if source is None:
        clips = Labelled(
            [clip_id for _, clip_id in wanted],
            [plan.classes[job.label] for job, _ in wanted],
            [job.subject for job, _ in wanted],
        )
    else:
        clips = Labelled.of(source)
    if (target / 'store.json').exists():
        clips = Labelled.of(ClipStore(target)) + clips
    if wanted and own is not None:
        own.rules(clips, Report())
    for name, ids in lists.items():
        if not set(ids) & set(clips.clip_ids):
            raise ConfigError(
                f'--split-list {name}',
                f'no clip of these {len(ids)} lines, such as {ids[:2]}',
                f'clips or videos such as {list(clips.clip_ids[:2])}',
                'correct the names in the file',
            )


def add_splits(
    target: Path,
    lists: Mapping[str, list[str]],
    report: Report,
    own: OwnSplits | None = None,
) -> None:
    """Adds splits of the stored clips. A rule must not have values that no clip has."""
    own = own or OwnSplits()
    if not (lists or own != OwnSplits(seed=own.seed)) or not (target / 'store.json').exists():
        return
    store = ClipStore(target)
    have = {str(clip_id) for clip_id in store.clip_ids}
    rules = own.rules(Labelled.of(store), report)
    for name, ids in lists.items():
        kept = [clip_id for clip_id in dict.fromkeys(ids) if clip_id in have]
        if len(kept) < len(ids):
            report.notes.append(f'split {name}: {len(ids) - len(kept)} of {len(ids)} not there')
        if kept:
            rules[name] = {'clip_id': kept}
    with StoreWriter(target, splits=rules, append=True):
        pass


def merge(
    videos: Path,
    out: Path,
    *,
    store: Path | None = None,
    subject: str | None = None,
    split_lists: Sequence[str] = (),
    splits: OwnSplits | None = None,
) -> Report:
    """Joins the shards in ``out`` to one store there, the same as one run would have written.

    Raises:
        StoreError: There are no shards, their counts or settings differ, or one is missing.
    """
    out = Path(out)
    shards = sorted(out.glob('shard-*-of-*'), key=lambda path: int(path.name.split('-')[1]))
    count = {path.name.rpartition('-')[2] for path in shards}
    if len(count) != 1 or len(shards) != int(next(iter(count))):
        raise StoreError(
            str(out),
            f'{[path.name for path in shards]}',
            'all shards of one extraction, shard-1-of-N to shard-N-of-N',
            'run the missing ones, remove those of another N',
        )
    unfinished = [path.name for path in shards if not (path / REFUSED_FILE).exists()]
    if unfinished:
        raise StoreError(
            str(out), f'unfinished shards {unfinished}', 'finished ones', 'run them again'
        )
    first = read_json(shards[0] / SETTINGS_FILE, _EXPECTED)
    for path in shards[1:]:
        if read_json(path / SETTINGS_FILE, _EXPECTED) != first:
            raise StoreError(
                str(out), 'shards of different settings', 'one setting', 'run the odd ones again'
            )
    report = Report('shards')
    report.found = report.read = len(shards)
    source = None if store is None else ClipStore(store)
    plan = make_plan(videos, source, ('decord',), subject, Report())
    lists = read_split_lists(split_lists)
    check_splits(out, plan, source, lists, splits)
    with reading(shards[0] / SETTINGS_FILE, _EXPECTED):
        mine = Settings(**first)
        _check_same(shards[0] / SETTINGS_FILE, first, asdict(mine))
    check_settings(out, mine)
    # If there are more shards than videos, some have nothing to do and write no store.
    parts = [ClipStore(path) for path in shards if (path / 'store.json').exists()]
    where = {str(i): (part, n) for part in parts for n, i in enumerate(part.clip_ids)}
    refused = {
        (reason, name, detail)  # a set, as clips without a video are refused by every shard
        for path in shards
        for reason, names in read_json(path / REFUSED_FILE, 'what a shard refused').items()
        for name, detail in _names(path / REFUSED_FILE, names)
    }
    for reason, name, detail in sorted(refused):
        report.refuse(name, reason, detail)
    _check_complete(out, plan, set(where) | {name for _, name, _ in refused})
    with open_writer(out, plan, mine, source) as writer:
        for clip_id in plan.clip_ids:
            if clip_id in writer.clip_ids:
                report.skipped += 1
            elif clip_id in where:
                part, n = where[clip_id]
                clip = part[n]
                writer.add(clip)
                report.kept += 1
                report.frames += clip.num_frames
    write_refused(out, report)
    add_splits(out, lists, report, splits)
    return report


def _names(file: Path, names: Any) -> Iterable[tuple[str, str]]:
    with reading(file, 'names of clips and what was wrong with them'):
        return [(name, str(detail)) for name, detail in names.items()]


def _check_complete(out: Path, plan: Plan, accounted: set[str]) -> None:
    """Checks that every clip is in a shard or was refused there, by its id or with its video."""
    lost = [
        clip_id
        for job in plan.jobs
        if job.video not in accounted
        for clip_id in job.clip_ids
        if clip_id not in accounted
    ]
    if lost:
        raise StoreError(
            str(out),
            f'shards without {len(lost)} of {len(plan.clip_ids)} clips, such as {lost[:3]}',
            'finished shards of these videos',
            'run the unfinished shards again; if videos were added, all of them',
        )


def write_refused(target: Path, report: Report) -> None:
    """``refused.json``: reason to name to detail."""
    write_json(
        target / REFUSED_FILE, {r: dict(sorted(v)) for r, v in sorted(report.refused.items())}
    )
