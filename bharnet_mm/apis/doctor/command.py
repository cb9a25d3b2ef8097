"""``bharnet doctor``: examines a clip store or an annotation pickle before training."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from ...io.atomic import write_json
from ...io.outputs import output_file
from . import examine, print_diagnosis, write_page

DESCRIPTION = """Examines a clip store or an annotation pickle before a GPU hour is spent on it.

  bharnet doctor data/ntu120
  bharnet doctor data/ntu120 --html ntu120.html --videos nturgb+d_rgb
  bharnet doctor ntu60_3danno.pkl --json ntu60.json

The exit status is 1 if an error was found that would spoil training or its test result, else 0."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument('source', metavar='STORE_OR_PKL', type=Path, help='what to examine')
    parser.add_argument(
        '--html', metavar='FILE', type=output_file, help='write the report as a page'
    )
    parser.add_argument('--json', metavar='FILE', type=output_file, help='write everything as JSON')
    parser.add_argument(
        '--videos', metavar='DIR', type=Path, help='count the frames of the videos in this folder'
    )


def run(args: argparse.Namespace) -> int:
    """Runs the examination; returns the exit status."""
    diagnosis = examine(args.source, args.videos, _progress)
    print_diagnosis(diagnosis)
    if args.html:
        write_page(args.html, diagnosis)
    if args.json:
        write_json(args.json, diagnosis.to_dict())
    return diagnosis.exit_status


def _progress(numbers: Iterable[int]) -> Iterable[int]:
    """Shows a bar with rate and time left on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    shown = console.is_terminal
    return track(numbers, 'reading clips', console=console, disable=not shown, transient=True)
