"""``bharnet predict``: labels, annotated videos and JSON for videos."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ConfigError, SourceError
from ..io.arguments import decimal, integer
from ..io.names import shown
from ..io.outputs import output_file
from .results import Result

DESCRIPTION = """Recognises actions in videos, streams and clip stores.

  bharnet predict video.mp4
  bharnet predict video.mp4 --model bharnet_light_asl10 --out out.mp4 --json out.json
  bharnet predict videos/ --model work_dirs/bharnet_p_own --json out.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        'source',
        nargs='+',
        help='videos, folders of them, patterns, clip stores, a camera number or a stream address',
    )
    parser.add_argument(
        '--model',
        default='bharnet_light_asl10',
        help='a shipped model, a published or exported file, or a work folder of a training '
        '(bharnet_light_asl10)',
    )
    parser.add_argument('--config', help='config of the model, where --model is a checkpoint')
    parser.add_argument(
        '--out', metavar='FILE', type=output_file, help='annotated video to write; for one video'
    )
    parser.add_argument('--json', metavar='FILE', type=output_file, help='predictions to write')
    parser.add_argument(
        '--window', type=decimal(above=0), help="seconds judged at once (the model's)"
    )
    parser.add_argument(
        '--stride', type=decimal(above=0), help='seconds between windows (half of one)'
    )
    parser.add_argument('--top-k', type=integer(1), default=5, help='labels of a prediction (5)')
    parser.add_argument('--max-persons', type=integer(1), default=2, help='persons of a window (2)')
    parser.add_argument(
        '--batch-size', type=integer(1), default=8, help='clips of a store at a time (8)'
    )
    parser.add_argument('--device', help='as torch names it; the GPU if there is one')
    parser.add_argument('--backend', default='mediapipe', help='mediapipe, rtmlib or your own')
    parser.add_argument('--models', metavar='DIR', type=Path, help='model files of the backend')
    parser.add_argument('--quiet', action='store_true', help='no table, no progress')


def run(args: argparse.Namespace) -> int:
    """Predicts, given the arguments of the command line."""
    sources = [int(word) if word.isdecimal() else word for word in args.source]
    _check(args, sources)
    refused: list[str] = []

    def refuse(path: str, reason: str) -> None:
        refused.append(path)
        print(shown(f'refused {path}: {reason}'), file=sys.stderr)

    each = _one_by_one(sources, refuse)
    from .inferencer import BodyHandInferencer
    from .results import save_results

    model, checkpoint = (args.config, args.model) if args.config else (args.model, None)
    infer = BodyHandInferencer(
        model,
        checkpoint,
        device=args.device,
        window=args.window,
        stride=args.stride,
        top_k=args.top_k,
        max_persons=args.max_persons,
        batch_size=args.batch_size,
        backend=args.backend,
        models=args.models,
    )
    results, judged = [], 0
    ended: BaseException | None = None
    try:
        with Progress(quiet=args.quiet) as tick:
            for source in each:
                try:
                    for result in infer(source, tick=tick):
                        judged += 1
                        if args.out or args.json:
                            results.append(result)
                        if not args.quiet:
                            tick.say(row(result))
                except SourceError as error:
                    if len(each) == 1:
                        raise
                    refuse(str(source), f'found {error.found or error}')
    except BaseException as error:  # Ctrl-C, a full disk: the answers so far are worth keeping
        ended = error
    if refused and not judged and ended is None:
        found = f'{len(refused)} that cannot be read'
        raise SourceError(' '.join(args.source), found, 'a video', 'see the lines above')
    if results or ended is None:
        if args.json:
            save_results(results, json=args.json, model=infer.card.name, complete=ended is None)
            _say_written(args.json, results, ended)
        if args.out:
            save_results(results, video=args.out)
            _say_written(args.out, results, ended)
    if ended is not None:
        raise ended
    return 0


def _say_written(path: Path, results: list[Result], ended: BaseException | None) -> None:
    if ended is None:
        print(shown(f'wrote {path}'))
    else:
        last = results[-1]
        until = f'{len(results)} answers so far, until {last.end:.1f} s of {last.video}'
        print(shown(f'wrote {path}: the {until}'), file=sys.stderr, flush=True)


def _one_by_one(sources: list[Any], refuse: Callable[[str, str], None]) -> list[Any]:
    """The sources with each folder and pattern replaced by its videos, so that one that cannot be
    read costs no other.
    """
    from .sources import is_set_of_videos, videos_of

    return [
        one
        for source in sources
        for one in (videos_of(source, refuse) if is_set_of_videos(source) else [source])
    ]


def _check(args: argparse.Namespace, sources: list[Any]) -> None:
    """Checks the arguments before anything heavy is imported."""
    from ..datasets.extraction.estimators import check_backend
    from .sources import Clips, is_set_of_videos, read_source

    for source in sources:
        first = None if is_set_of_videos(source) else next(iter(read_source(source)), None)
        if not isinstance(first, Clips):
            check_backend(args.backend)
    if args.out:
        from .annotate import VideoWriter

        VideoWriter(args.out, 30)
        if len(sources) != 1 or not Path(str(sources[0])).is_file():
            raise ConfigError(
                '--out', f'the sources {args.source}', 'one video file', 'call it for each video'
            )


def row(result: Result) -> str:
    """A result as one line of text."""
    name = Path(result.video).name or result.video
    who = '' if result.person is None else f'person {result.person}  '
    best = result.labels[0]
    said = f'{best.name} {best.probability:.2f}'
    answer = f'unsure ({said}; {result.reason})' if result.unsure else said
    experts = '  '.join(
        f'{name}: {labels[0].name} {labels[0].probability:.2f}' if labels else f'{name}: -'
        for name, labels in result.experts.items()
    )
    notes = ''.join(f'  ({note})' for note in result.notes)
    return shown(
        f'{name}  {result.start:.1f}-{result.end:.1f} s  {who}{answer}  [{experts}]{notes}'
    )


class Progress:
    """Shows the progress of each video: a bar on a terminal, otherwise a line every 30 seconds.

    Args:
        quiet: Whether to show nothing.
        every: Seconds between lines if there is no terminal.
    """

    def __init__(self, quiet: bool = False, every: float = 30.0) -> None:
        self.quiet, self.every = quiet, every
        self._bar: Any = None

    def __enter__(self) -> Progress:
        self._said = time.monotonic()
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bar
            from rich.progress import TimeRemainingColumn as Left

            columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), Left())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task('', total=None)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Shows that ``done`` of ``total`` frames of video ``name`` are read (0: unknown)."""
        if self._bar is not None:
            from rich.markup import escape

            self._bar.update(
                self._task,
                description=escape(shown(Path(name).name)),
                completed=done,
                total=total or None,
            )
        elif not self.quiet and time.monotonic() - self._said > self.every:
            self._said = time.monotonic()
            of = f' of {total}' if total else ''
            print(shown(f'{name}: frame {done}{of}'), file=sys.stderr)

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        print(text, flush=True)
