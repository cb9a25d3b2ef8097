"""Reading of items in parallel and writing of clips in order, with a report; used by converters and
extraction.

A reader turns one item (a file, a folder) into a :class:`Converted`; it runs in worker processes.
Clips are added to the store by one process, in the order of the items, so the store does not depend
on the number of workers. At most a few chunks per worker are read in advance, so memory does not
grow with the number of items.
"""

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ..errors import BHaRNetError, ClipError, SourceError
from ..io.atomic import write_json
from ..io.guard import name_of, reading
from ..io.process import worker_pool
from .clip import Clip
from .store import StoreWriter

_CHUNK = 16  # items a worker takes at once
_IN_FLIGHT = 3  # chunks per worker that are read ahead of the store
_COMMIT_EVERY = 2000  # clips
MISSING_JOINT = 'joint missing by itself: filled from the frames that show it'
_COMMIT_SECONDS = 5.0
_SHOWN = 5  # names printed per repair and per reason of refusal


@dataclass
class Converted:
    """The result of reading one item.

    Attributes:
        name (str): Name of the item in the report.
        clips (list): Clips (or region grids) for the store.
        repaired (Counter): Repair to its count.
        refused (list[tuple[str, str, str]]): (name of the clip or item, reason, detail).
        skipped (int): Clips that the store already holds.
        frames (int): Frames read, if the clips do not tell it.
        noticed (list[str]): Remarks for the user about the item.
    """

    name: str
    clips: list[Any] = field(default_factory=list)
    repaired: Counter = field(default_factory=Counter)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    skipped: int = 0
    frames: int = 0
    noticed: list[str] = field(default_factory=list)


class Report:
    """Counts of what was read, kept, repaired and refused, and why."""

    def __init__(self, what: str = 'files') -> None:
        self.what = what
        self.found = self.read = self.kept = self.frames = self.skipped = 0
        self.repaired: Counter = Counter()
        self.repaired_items: Counter = Counter()
        self.repaired_names: dict[str, list[str]] = {}
        self.refused: dict[str, list[tuple[str, str]]] = {}
        self.noticed: dict[str, list[str]] = {}
        self.notes: list[str] = []
        self.started = time.monotonic()

    def refuse(self, name: str, reason: str, detail: str = '') -> None:
        """Counts an item as refused for a reason."""
        self.refused.setdefault(reason, []).append((name, detail))

    def unusable(self, path: str, reason: str) -> None:
        """Counts something that was found and refused; for :mod:`bharnet_mm.io.listing`."""
        self.found += 1
        self.refuse(path, reason)

    def repair(self, name: str, repaired: Mapping[str, int]) -> None:
        """Counts what was repaired in one item."""
        for repair, num in repaired.items():
            self.repaired[repair] += num
            self.repaired_items[repair] += 1
            self.repaired_names.setdefault(repair, []).append(name)

    @property
    def num_refused(self) -> int:
        """Number of items left out."""
        return sum(map(len, self.refused.values()))

    def lines(self) -> Iterator[str]:
        """The report as lines of text."""
        seconds = time.monotonic() - self.started
        yield f'found     {self.found} {self.what}'
        yield f'read      {self.read} in {seconds:.1f} s'
        yield f'kept      {self.kept} clips, {self.frames} frames'
        if self.skipped:
            yield f'skipped   {self.skipped} clips that the store held already'
        yield f'repaired  {sum(self.repaired.values())}'
        for repair, num in sorted(self.repaired.items()):
            yield f'  {num:8d}  {repair} (in {self.repaired_items[repair]} {self.what})'
            yield from _first(self.repaired_names.get(repair, []))
        yield f'refused   {self.num_refused}'
        for reason, names in sorted(self.refused.items()):
            yield f'  {len(names):8d}  {reason}'
            yield from _first([f'{name}: {detail}' if detail else name for name, detail in names])
        for what, names in sorted(self.noticed.items()):
            yield f'noticed   {len(names)} {what}'
            yield from _first(names)
        for note in self.notes:
            yield f'note      {note}'

    def __str__(self) -> str:
        return '\n'.join(self.lines())

    def save(self, path: str | os.PathLike) -> None:
        """Writes the report with all refused names as JSON."""
        content = dict(
            found=self.found,
            read=self.read,
            kept=self.kept,
            frames=self.frames,
            skipped=self.skipped,
            repaired=dict(self.repaired),
            repaired_in=self.repaired_names,
            refused={reason: dict(names) for reason, names in self.refused.items()},
            noticed=self.noticed,
            notes=self.notes,
        )
        write_json(path, content)


def _first(names: list[str]) -> Iterator[str]:
    """The first few names, one for each line."""
    for name in names[:_SHOWN]:
        yield f'            {name}'
    if len(names) > _SHOWN:
        yield f'            ... and {len(names) - _SHOWN} more (--report FILE lists all)'


def gather(
    results: Iterable[Converted],
    writer: Any,
    report: Report,
    *,
    add: Callable[[Any], None] | None = None,
    held: Collection[str] = (),
    strict: bool = False,
) -> None:
    """Adds the clips of read items to a store, in order, and counts everything.

    Converters, extraction and regions use this loop. It commits at the end, and before that every
    few seconds or some thousand clips.

    Args:
        results (Iterable): A :class:`Converted` for each item.
        writer (StoreWriter | RegionWriter): An open store.
        report (Report): Counts everything. The caller sets ``found`` and ``skipped``.
        add (Callable, optional): Adds one of ``Converted.clips``. Defaults to ``writer.add``.
        held (Collection[str], optional): Clip ids that are left out, since they were counted as
            skipped before.
        strict (bool): Whether a clip that does not fit raises an error. Defaults to False.

    Raises:
        BHaRNetError: With ``strict``, the first error met.
    """
    add = add or writer.add
    uncommitted, committed = 0, time.monotonic()
    progress = _Progress(report.found - report.num_refused - report.skipped, report)
    for converted in results:
        report.read += 1
        report.skipped += converted.skipped
        report.frames += converted.frames
        report.repair(converted.name, converted.repaired)
        for what in converted.noticed:
            report.noticed.setdefault(what, []).append(converted.name)
        for name, reason, detail in converted.refused:
            report.refuse(name, reason, detail)
        for clip in converted.clips:
            if clip.clip_id in held:
                continue
            if clip.clip_id in writer.clip_ids:
                report.refuse(clip.clip_id, 'the same clip id again')
                continue
            try:
                add(clip)
            except ClipError as error:
                if strict:
                    raise
                report.refuse(clip.clip_id, 'a clip that the store does not accept', str(error))
                continue
            report.kept += 1
            report.frames += len(getattr(clip, 'frame_index', ()))
            uncommitted += 1
        late = time.monotonic() - committed > _COMMIT_SECONDS
        if uncommitted and (late or uncommitted >= _COMMIT_EVERY):
            writer.commit()
            uncommitted, committed = 0, time.monotonic()
        progress.show()
    writer.commit()
    progress.close()


def convert(
    items: Iterable[Any],
    read: Callable[[Any], Converted],
    writer: StoreWriter,
    report: Report,
    *,
    workers: int = 1,
    strict: bool = False,
) -> None:
    """Reads all items and adds their clips to a store, in order.

    Args:
        items (Iterable): Items to read, e.g. paths. Picklable.
        read (Callable): Item to :class:`Converted`; picklable (it runs in worker processes). If it
            raises an error of this package, the item is refused.
        writer (StoreWriter): An open store. Clips are committed at the end and at intervals before.
        report (Report): Counts everything.
        workers (int): Processes that read. 1 reads in this process. Defaults to 1.
        strict (bool): Whether an ill-formed item raises an error. Defaults to False.

    Raises:
        BHaRNetError: With ``strict``, the first error met.
    """

    def add(clip: Clip) -> None:
        writer.add(clip)
        if missing := clip.num_missing_joints:
            report.repair(clip.clip_id, {MISSING_JOINT: missing})

    results = _read_all(items, _Guarded(read, strict), workers)
    gather(results, writer, report, add=add, strict=strict)


class _Guarded:
    """Calls a reader and turns its errors into refused items."""

    def __init__(self, read: Callable[[Any], Converted], strict: bool) -> None:
        self.read, self.strict = read, strict

    def __call__(self, items: list) -> list[Converted]:
        return [self._one(number, item) for number, item in items]

    def _one(self, number: int, item: Any) -> Converted:
        name = name_of(item)
        name = f'{name} {number}' if name == 'annotation' else name  # an annotation may have no id
        try:
            with reading(name, 'a readable item', 'restore it or leave it out', but=(OSError,)):
                return self.read(item)
        except BHaRNetError as error:
            if self.strict:
                raise
            return Converted(name, refused=[(name, 'ill-formed', str(error))])
        except OSError as error:
            if self.strict:
                raise
            return Converted(name, refused=[(name, 'cannot be read', str(error))])


def _items(items: Iterable) -> Iterator:
    """Yields the items. Errors of an archive's content become errors of this package."""
    items = iter(items)
    while True:
        with reading('source', 'a readable archive or list'):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def _read_all(items: Iterable, read: _Guarded, workers: int) -> Iterator[Converted]:
    items = enumerate(_items(items), 1)
    chunks = iter(lambda: list(islice(items, _CHUNK)), [])
    if workers <= 1:
        for chunk in chunks:
            yield from read(chunk)
        return
    try:
        with worker_pool(workers) as pool:
            waiting: deque = deque()
            for chunk in chunks:
                waiting.append(pool.submit(read, chunk))
                if len(waiting) >= workers * _IN_FLIGHT:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise SourceError(
            'reading',
            found='a worker process that was killed',
            expected='all to live',
            fix='perhaps the memory ran out: use fewer --workers, and --resume',
        ) from None


class _Progress:
    """Prints progress, speed and the time left to standard error.

    On a terminal this is one line that changes, otherwise a line every 30 seconds.
    """

    def __init__(self, total: int, report: Report) -> None:
        self.total, self.report = total, report
        self.terminal = sys.stderr.isatty()
        self.every = 1.0 if self.terminal else 30.0
        self.start = self.last = time.monotonic()
        self.shown = False

    def show(self) -> None:
        now = time.monotonic()
        if now - self.last < self.every:
            return
        self.last, self.shown = now, True
        report, seconds = self.report, now - self.start
        left = max(0, self.total - report.read) * seconds / report.read
        text = (
            f'{report.read} of {self.total} {report.what}, {report.read / seconds:.1f} a second, '
            f'{report.frames / seconds:.0f} frames a second, {left:.0f} s left'
        )
        before, after = ('\r', ' ') if self.terminal else ('', '\n')
        print(before + text, end=after, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.shown and self.terminal:
            print(file=sys.stderr)
