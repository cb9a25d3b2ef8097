"""Examines a clip store or an annotation pickle before a GPU hour is spent on it.

  python tools/data/doctor.py data/ntu120
  python tools/data/doctor.py data/ntu120 --html ntu120.html --videos nturgb+d_rgb
  python tools/data/doctor.py ntu60_3danno.pkl --json ntu60.json

The exit status is 1 where training or its test result would be wrong (an error was found), else 0.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from bharnet_mm.apis.converter import main
from bharnet_mm.apis.doctor import examine, print_diagnosis, write_page
from bharnet_mm.io.atomic import write_text


def command(argv: Sequence[str] | None = None) -> int:
    """Runs the examination; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='STORE_OR_PKL', type=Path, help='what to examine')
    parser.add_argument('--html', metavar='FILE', type=Path, help='write the report as a page')
    parser.add_argument('--json', metavar='FILE', type=Path, help='write everything as JSON')
    parser.add_argument(
        '--videos', metavar='DIR', type=Path, help='count the frames of the videos in this folder'
    )
    args = parser.parse_args(argv)
    diagnosis = examine(args.source, args.videos, _progress)
    print_diagnosis(diagnosis)
    if args.html:
        write_page(args.html, diagnosis)
    if args.json:
        text = json.dumps(diagnosis.to_dict(), indent=1, ensure_ascii=False)
        write_text(args.json, text + '\n')
    return diagnosis.exit_status


def _progress(numbers: Iterable[int]) -> Iterable[int]:
    """A bar with rate and time left, where somebody looks."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    shown = console.is_terminal
    return track(numbers, 'reading clips', console=console, disable=not shown, transient=True)


if __name__ == '__main__':
    main(command)
