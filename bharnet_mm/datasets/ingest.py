"""What all converters share: files read in parallel, clips written in order, and an account of
everything.

A reader turns one item (a file, a folder) into a :class:`Converted`; it runs in worker processes.
Clips are added to the store by one process, in the order of the items, so the store does not depend
on the number of workers. At most a few chunks per worker are under way, so memory does not grow
with the number of items.
"""

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ..errors import BHaRNetError, ClipError, SourceError
from ..io.atomic import write_json
from ..io.guard import name_of, reading
from ..io.process import die_with
from .clip import Clip
from .store import StoreWriter

_CHUNK = 16  # items a worker takes at once
_IN_FLIGHT = 3  # chunks per worker that are read ahead of the store
_COMMIT_EVERY = 2000  # clips
MISSING_JOINT = 'joint missing by itself: filled from the frames that show it'
_SHOWN = 5  # refused names printed per reason


@dataclass
class Converted:
    """What became of one item.

    Attributes:
        name (str): The item, as the report calls it.
        clips (list[Clip]): Clips for the store.
        repaired (Counter): Repair to how often.
        refused (list[tuple[str, str, str]]): (name of the clip or item, reason, detail).
        skipped (int): Clips that the store already holds.
    """

    name: str
    clips: list[Clip] = field(default_factory=list)
    repaired: Counter = field(default_factory=Counter)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    skipped: int = 0


class Report:
    """Counts of what was read, kept, repaired and refused, and why."""

    def __init__(self, what: str = 'files') -> None:
        self.what = what
        self.found = self.read = self.kept = self.frames = self.skipped = 0
        self.repaired: Counter = Counter()
        self.repaired_items: Counter = Counter()
        self.refused: dict[str, list[tuple[str, str]]] = {}
        self.notes: list[str] = []
        self.started = time.monotonic()

    def refuse(self, name: str, reason: str, detail: str = '') -> None:
        self.refused.setdefault(reason, []).append((name, detail))

    @property
    def num_refused(self) -> int:
        return sum(map(len, self.refused.values()))

    def lines(self) -> Iterator[str]:
        seconds = time.monotonic() - self.started
        yield f'found     {self.found} {self.what}'
        yield f'read      {self.read} in {seconds:.1f} s'
        yield f'kept      {self.kept} clips, {self.frames} frames'
        if self.skipped:
            yield f'skipped   {self.skipped} clips that the store held already'
        yield f'repaired  {sum(self.repaired.values())}'
        for repair, num in sorted(self.repaired.items()):
            yield f'  {num:8d}  {repair} (in {self.repaired_items[repair]} {self.what})'
        yield f'refused   {self.num_refused}'
        for reason, names in sorted(self.refused.items()):
            yield f'  {len(names):8d}  {reason}'
            for name, detail in names[:_SHOWN]:
                yield f'            {name}' + (f': {detail}' if detail else '')
            if len(names) > _SHOWN:
                yield f'            ... and {len(names) - _SHOWN} more (--report FILE lists all)'
        for note in self.notes:
            yield f'note      {note}'

    def __str__(self) -> str:
        return '\n'.join(self.lines())

    def save(self, path: str | os.PathLike) -> None:
        """Writes everything, all refused names included, as JSON."""
        content = dict(
            found=self.found,
            read=self.read,
            kept=self.kept,
            frames=self.frames,
            skipped=self.skipped,
            repaired=dict(self.repaired),
            refused={reason: dict(names) for reason, names in self.refused.items()},
            notes=self.notes,
        )
        write_json(path, content)


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
        items (Iterable): What to read, e.g. paths. Picklable.
        read (Callable): Item to :class:`Converted`; picklable (it runs in worker processes). An
            error of ours that it raises refuses the item.
        writer (StoreWriter): An open store. Everything is committed at the end, and now and then
            before.
        report (Report): Counts everything.
        workers (int): Processes that read. 1 reads in this process. Defaults to 1.
        strict (bool): Whether the first ill-formed item is an error. Defaults to False.

    Raises:
        BHaRNetError: With ``strict``, the first error met.
    """
    uncommitted = 0
    progress = _Progress(report.found - report.num_refused - report.skipped, report)
    for converted in _read_all(items, _Guarded(read, strict), workers):
        report.read += 1
        report.skipped += converted.skipped
        report.repaired.update(converted.repaired)
        report.repaired_items.update(dict.fromkeys(converted.repaired, 1))
        for name, reason, detail in converted.refused:
            report.refuse(name, reason, detail)
        for clip in converted.clips:
            if clip.clip_id in writer.clip_ids:
                report.refuse(clip.clip_id, 'the same clip id again')
                continue
            try:
                writer.add(clip)
            except ClipError as error:
                if strict:
                    raise
                report.refuse(clip.clip_id, 'a clip that the store does not accept', str(error))
                continue
            if missing := clip.num_missing_joints:
                report.repaired[MISSING_JOINT] += missing
                report.repaired_items[MISSING_JOINT] += 1
            report.kept += 1
            report.frames += len(clip.frame_index)
            uncommitted += 1
        if uncommitted >= _COMMIT_EVERY:
            writer.commit()
            uncommitted = 0
        progress.show()
    writer.commit()
    progress.close()


class _Guarded:
    """A reader whose errors become refused items."""

    def __init__(self, read: Callable[[Any], Converted], strict: bool) -> None:
        self.read, self.strict = read, strict

    def __call__(self, items: list) -> list[Converted]:
        return [self._one(number, item) for number, item in items]

    def _one(self, number: int, item: Any) -> Converted:
        name = name_of(item)
        name = f'{name} {number}' if name == 'annotation' else name  # it has no id of its own
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
    """The items; what an archive's content raises on the way is an error of ours."""
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
        with ProcessPoolExecutor(workers, initializer=die_with, initargs=(os.getpid(),)) as pool:
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
    """A line on standard error every few seconds, with rate and time left."""

    def __init__(self, total: int, report: Report, every: float = 5.0) -> None:
        self.total, self.report, self.every = total, report, every
        self.start = self.last = time.monotonic()
        self.shown = False

    def show(self) -> None:
        now = time.monotonic()
        if now - self.last < self.every:
            return
        self.last, self.shown = now, True
        rate = self.report.read / (now - self.start)
        left = max(0, self.total - self.report.read) / rate
        state = f'{self.report.read} of {self.total} {self.report.what}'
        text = f'\r{state}, {rate:.0f} a second, {left:.0f} s left '
        print(text, end='', file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.shown:
            print(file=sys.stderr)
