"""Makes a clip store of JHMDB: bodies and hands in its videos, and the three official splits.

  python tools/data/jhmdb.py ReCompress_Videos splits data/jhmdb

It does the same as extract_hands.py, for VIDEOS/<class>/<clip>.avi. Run it again to continue where
it stopped.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bharnet_mm.apis.converter import add_workers, main
from bharnet_mm.datasets.extraction.output import Settings, add_splits
from bharnet_mm.datasets.extraction.runner import extract
from bharnet_mm.datasets.sources.jhmdb import read_splits, source_pattern
from bharnet_mm.io.outputs import output_folder


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out.add_argument('videos', metavar='VIDEOS', type=Path, help='folder of one folder a class')
    out.add_argument(
        'splits', metavar='SPLITS', type=Path, help='its folder of split files, or a CSV file'
    )
    out.add_argument(
        'out', metavar='OUT', type=output_folder, help='clip store to write or continue'
    )
    out.add_argument('--backend', default='mediapipe', help='see extract_hands.py (mediapipe)')
    add_workers(out)
    return out


def command(argv: Sequence[str] | None = None) -> int:
    """Runs the extraction; returns the exit status."""
    args = parser().parse_args(argv)
    splits = read_splits(args.splits)
    report = extract(
        args.videos,
        args.out,
        Settings(args.backend),
        workers=args.workers,
        subject=source_pattern(splits),
    )
    if report.kept or report.skipped:
        add_splits(args.out, splits, report)
    print(report)
    return 0 if report.kept or report.skipped else 1


if __name__ == '__main__':
    main(command)
