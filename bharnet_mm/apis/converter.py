"""The command line of all converters: ``python tools/data/<form>.py SOURCE OUT``."""

import argparse
import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..datasets.ingest import Converted, Report, convert
from ..datasets.protocols import leave_one_out
from ..datasets.store import ClipStore, StoreWriter
from ..datasets.store.format import LOCK_FILE, META_FILE
from ..errors import ConfigError
from ..io.arguments import decimal, integer
from ..io.atomic import remove_left_overs, swap_folders, undo_swap
from ..io.command import run_command
from ..io.lock import FolderLock
from ..io.outputs import output_file, output_folder
from ..io.process import processors


def converter_parser(
    description: str,
    source: str,
    source_help: str,
    output_kind: Callable[[str], Path] = output_folder,
) -> argparse.ArgumentParser:
    """A parser with the arguments that every converter has; ``output_kind`` checks OUT."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar=source, type=Path, help=source_help)
    parser.add_argument(
        'out', metavar='OUT', type=output_kind, help='folder of the clip store to write'
    )
    exists = parser.add_mutually_exclusive_group()
    exists.add_argument(
        '--resume',
        action='store_true',
        help='continue an interrupted conversion: add what OUT lacks',
    )
    exists.add_argument('--overwrite', action='store_true', help='replace the clip store in OUT')
    add_workers(parser)
    parser.add_argument(
        '--strict',
        action='store_true',
        help='stop at the first ill-formed file instead of refusing it',
    )
    parser.add_argument(
        '--report', metavar='FILE', type=output_file, help='write the report as JSON'
    )
    return parser


def add_workers(parser: argparse.ArgumentParser, more: str = '') -> None:
    """The option ``--workers``; ``more`` is added to its help."""
    parser.add_argument(
        '--workers',
        type=integer(0),
        default=processors(),
        help=f'processes (default: one for each core){more}',
    )


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """The option ``--timeout`` of tools that read videos."""
    parser.add_argument(
        '--timeout',
        type=decimal(above=0),
        default=120.0,
        help='seconds without a frame after which a video is given up (120)',
    )


def add_recording_facts(parser: argparse.ArgumentParser, image_size_help: str) -> None:
    """Options of converters of one's own recordings, whose files do not say these facts.

    Args:
        parser: Of :func:`converter_parser`.
        image_size_help: What the size of the images is needed for.
    """
    parser.add_argument(
        '--subject-from',
        metavar='REGEX',
        help="regular expression; its group 1, searched for in a clip's id, is the subject",
    )
    parser.add_argument(
        '--image-size',
        metavar='WIDTHxHEIGHT',
        type=image_size,
        default=(0, 0),
        help=f'size of the images in pixels, {image_size_help}',
    )
    add_name(parser)


def add_name(parser: argparse.ArgumentParser) -> None:
    """The option ``--name`` of converters of one's own files."""
    parser.add_argument('--name', help='name of the store (default: that of the source)')


def check_subject_pattern(pattern: str | None) -> None:
    """Refuses a ``--subject-from`` that is no regular expression, or has no group.

    Raises:
        ConfigError: With what is wrong.
    """
    try:
        groups = re.compile(pattern or '()').groups
    except re.error as error:
        raise ConfigError(
            '--subject-from', f'{pattern!r} ({error})', 'a regular expression', 'correct it'
        ) from None
    if not groups:
        raise ConfigError('--subject-from', f'{pattern!r}', 'a group: (...)', 'add brackets')


def splits_by_subject(subjects: Sequence[str], report: Report) -> dict[str, dict]:
    """Splits that leave out one subject each, where there are two or more; the report says so."""
    if len(subjects) > 1:
        report.notes.append(f'splits that leave one of {len(subjects)} subjects out')
        return leave_one_out('subject', subjects)
    report.notes.append('no splits, as there are no two subjects (see --subject-from)')
    return {}


def image_size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` in pixels, for argparse."""
    found = re.fullmatch(r'([1-9]\d{0,5})[xX]([1-9]\d{0,5})', text)
    if not found:
        raise argparse.ArgumentTypeError(f'found {text!r}; expected such as 640x480')
    return int(found[1]), int(found[2])


@contextlib.contextmanager
def place_to_write(args: argparse.Namespace) -> Iterator[Path]:
    """The folder in which the store is written, according to ``--resume`` and ``--overwrite``.

    This is OUT. With ``--overwrite`` it is a folder beside OUT, which replaces OUT if the block
    ends without an exception and with clips in it. Until then the old store is unchanged, and
    locked against writers.

    Raises:
        ConfigError: OUT exists and neither option was given, or OUT is not a clip store.
        StoreError: Another process is writing to it.
    """
    out = Path(os.path.abspath(args.out))
    undo_swap(out)
    remove_left_overs(out)
    present = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if present and not (args.resume or args.overwrite):
        raise ConfigError(
            str(args.out),
            found='something there already',
            expected='a new folder',
            fix='give --resume to add what is missing, --overwrite to replace it, or another OUT',
        )
    if present and not _is_store(out):
        raise ConfigError(
            str(args.out),
            found='something that is not a clip store',
            expected='a clip store or a new folder',
            fix='give another OUT, or remove it yourself',
        )
    if not (present and args.overwrite):
        yield args.out
        return
    with FolderLock(out / LOCK_FILE):
        beside = out.with_name(f'.{out.name}.building')
        # left by an overwriting that was killed; nobody uses it, since we hold the lock
        if beside.exists():
            shutil.rmtree(beside)
        try:
            yield beside
            if len(ClipStore(beside)):
                swap_folders(beside, out)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _is_store(folder: Path) -> bool:
    """Whether a folder is a clip store, or one without its first commit."""
    if not folder.is_dir():
        return False
    return (folder / META_FILE).is_file() or all(
        path.suffix == '.bin' or path.name in (LOCK_FILE, f'{META_FILE}.tmp')
        for path in folder.iterdir()
    )


def run(
    args: argparse.Namespace,
    items: Sequence[Any],
    read: Callable[[Any], Converted],
    report: Report,
    ids: Callable[[Any], str] | None = None,
    prepare: Callable[[Sequence[Any], StoreWriter], Iterable[Any]] | None = None,
    splits: Mapping[str, Mapping] | Callable[[ClipStore], Mapping[str, Mapping]] | None = None,
    **store: Any,
) -> int:
    """Opens the store, converts and prints the report.

    Args:
        args (argparse.Namespace): Arguments of a :func:`converter_parser`.
        items, read, report: See :func:`convert`.
        ids (Callable, optional): Item to its only clip id, so that ``--resume`` can skip it without
            reading it.
        prepare (Callable, optional): Changes the items, given the open store.
        splits (dict | Callable, optional): Rules, or a function that makes them when all clips are
            stored (a rule must not name values that no clip has).
        **store: Other arguments of :class:`StoreWriter`.

    Returns:
        int: Exit status: 1 if the store holds no clip afterwards.
    """
    later = callable(splits)
    with place_to_write(args) as place:
        first = None if later else splits
        with StoreWriter(place, append=args.resume, splits=first, **store) as writer:
            if ids is not None and writer.clip_ids:
                todo = [item for item in items if ids(item) not in writer.clip_ids]
                report.skipped += len(items) - len(todo)
                items = todo
            items = prepare(items, writer) if prepare else items
            convert(items, read, writer, report, workers=args.workers, strict=args.strict)
        if later and (kept := ClipStore(place)):
            with StoreWriter(place, splits=splits(kept), append=True):
                pass
    if args.overwrite and not report.kept:
        report.notes.append('nothing was kept, so a store that was there before is still there')
    return finish(args, report)


def finish(args: argparse.Namespace, report: Report) -> int:
    """Prints (and saves) the report; returns the exit status."""
    print(report)
    if args.report:
        report.save(args.report)
    return 0 if report.kept or report.skipped else 1


def main(command: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> None:
    """Runs a tool, see :func:`bharnet_mm.io.command.run_command`."""
    run_command(lambda: command(argv), hint=': --resume continues')
