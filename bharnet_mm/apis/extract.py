"""``bharnet extract``: finds bodies and hands in videos and writes a clip store."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..datasets.extraction.output import Settings, merge
from ..datasets.extraction.own_splits import OwnSplits
from ..datasets.extraction.runner import extract
from ..errors import ConfigError
from ..io.arguments import decimal, integer, seed_number
from ..io.outputs import output_folder
from .converter import add_timeout, add_workers

DESCRIPTION = """Finds hands (and bodies) in videos and writes them to a clip store.

  bharnet extract videos data/mine
      plain videos, VIDEOS/<label>/<clip>.mp4 or flat: bodies and hands
  bharnet extract nturgb+d_rgb data/ntu120 --store data/ntu120_body
      a copy of STORE with hands, looked for at the wrists of its bodies

Run it again to continue where it stopped. On a cluster: --shard I/N in each job (the same OUT),
then once --merge. See docs/extraction.md."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument('videos', metavar='VIDEOS', type=Path, help='folder of videos')
    parser.add_argument(
        'out', metavar='OUT', type=output_folder, help='clip store to write or continue'
    )
    parser.add_argument('--store', type=Path, help='clip store whose bodies are there already')
    parser.add_argument(
        '--backend',
        default='mediapipe',
        help='mediapipe (default), rtmlib, or module:Class of your own',
    )
    parser.add_argument('--models', metavar='DIR', type=Path, help='model files of rtmlib')
    parser.add_argument(
        '--min-score',
        type=decimal(0, 1),
        default=0.5,
        help='hands of lower confidence are left out (0.5)',
    )
    parser.add_argument('--max-persons', type=integer(1), default=2, help='of plain videos (2)')
    parser.add_argument(
        '--subject-regex',
        metavar='REGEX',
        help="searched in a plain video's path; its first group is the subject",
    )
    parser.add_argument(
        '--split-list',
        metavar='NAME=FILE',
        action='append',
        default=[],
        help='a split of the clips listed in FILE, one a line, such as own_train=train.txt; '
        'can be given more than once',
    )
    splits = parser.add_argument_group('splits', 'made of the clips that are there at the end')
    splits.add_argument(
        '--test-subjects',
        metavar='SUBJECT',
        nargs='+',
        default=[],
        help='own_test; the rest is own_train',
    )
    splits.add_argument(
        '--leave-one-out',
        action='store_true',
        help='SUBJECT_train and SUBJECT_test for each subject',
    )
    splits.add_argument(
        '--test-share',
        type=decimal(above=0, most=1),
        help='of each class to own_test, such as 0.2; the rest is own_train',
    )
    splits.add_argument('--seed', type=seed_number, default=0, help='of --test-share (0)')
    parser.add_argument(
        '--shard', metavar='I/N', type=_shard, help='only every Nth video from the Ith'
    )
    parser.add_argument('--merge', action='store_true', help='join the shards in OUT')
    add_workers(parser, '; 0 works in this process, without a guard against hanging')
    add_timeout(parser)
    parser.add_argument(
        '--strict', action='store_true', help='exit non-zero where any video was refused'
    )


def _shard(text: str) -> tuple[int, int]:
    number, slash, count = text.partition('/')
    if not (slash and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f'{text!r} is not I/N with 1 <= I <= N')
    return int(number), int(count)


def run(args: argparse.Namespace) -> int:
    """Runs the extraction; returns the exit status."""
    if args.merge and args.shard:
        raise ConfigError(
            '--merge', '--shard as well', 'one of them', 'merge once, after the shards'
        )
    splits = OwnSplits(tuple(args.test_subjects), args.leave_one_out, args.test_share, args.seed)
    common = dict(
        store=args.store, subject=args.subject_regex, split_lists=args.split_list, splits=splits
    )
    if args.merge:
        report = merge(args.videos, args.out, **common)
    else:
        report = extract(
            args.videos,
            args.out,
            Settings(args.backend, args.min_score, args.max_persons, args.store is not None),
            models=args.models,
            shard=args.shard,
            workers=args.workers,
            timeout=args.timeout,
            **common,
        )
    print(report)
    failed = report.found and not (report.kept or report.skipped)
    return 1 if failed or (args.strict and report.num_refused) else 0
