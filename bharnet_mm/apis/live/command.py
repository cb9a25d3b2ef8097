"""``bharnet live``: recognition in a camera, a stream or a file that is played at its own pace."""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
import time

from ...io.arguments import decimal
from ...io.outputs import output_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        'source',
        nargs='?',
        default='0',
        help='number of a camera, rtsp:// or http:// address, or a video file (default: 0)',
    )
    parser.add_argument('--model', default='bharnet_light_asl10', help='name, work folder or file')
    parser.add_argument('--checkpoint', help='weights, where --model is a config')
    parser.add_argument(
        '--window', type=decimal(above=0), help="seconds of a clip (default: the model's)"
    )
    parser.add_argument(
        '--stride', type=decimal(above=0), default=0.5, help='seconds between two answers'
    )
    parser.add_argument('--mirror', action='store_true', help='for a front camera')
    parser.add_argument(
        '--backend', default='mediapipe', help='pose estimator (default: mediapipe)'
    )
    parser.add_argument(
        '--out', type=output_file, help='annotated video to write (.mp4, .mkv or .mov)'
    )
    parser.add_argument('--no-display', action='store_true', help='open no window')
    parser.add_argument(
        '--json', action='store_true', help='write JSON lines to stdout (always without a window)'
    )
    parser.add_argument('--loop', action='store_true', help='play a file again and again')
    parser.add_argument(
        '--stats',
        type=output_file,
        metavar='FILE',
        help='JSON file to write: frames per second, latencies, CPU share of each stage, memory',
    )
    parser.add_argument(
        '--seconds', type=decimal(above=0), help='stop so long after the models are loaded'
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command and returns its exit status.

    Raises:
        BHaRNetError: If the source, the model or the output cannot be used.
    """
    from .source import LiveSource

    # Steps that fail quickly come first.
    with LiveSource(args.source, args.mirror, loop=args.loop) as source:
        from ...datasets.extraction.estimators import build_estimator
        from ...io.atomic import write_json
        from ..recognizer import load_recognizer
        from .output import Display, JsonLines, VideoOutput, has_display
        from .session import LiveSession

        estimator = build_estimator(args.backend)
        build = functools.partial(load_recognizer, args.model, args.checkpoint)
        display = None if args.no_display or not has_display() else Display()
        lines = JsonLines(sys.stdout) if args.json or display is None else None
        stopped: KeyboardInterrupt | None = None
        with contextlib.ExitStack() as stack:
            if display is not None:
                stack.callback(display.close)
            video = stack.enter_context(VideoOutput(args.out, source.fps)) if args.out else None
            session = stack.enter_context(
                LiveSession(source, estimator, build, args.window, args.stride)
            )
            try:
                _show(session, estimator.body_layout, display, video, lines, args.seconds)
            except KeyboardInterrupt as signal:
                stopped = signal  # after what was seen so far is written
        if lines is not None:
            lines.finish(session.statistics)
        if args.stats:
            write_json(args.stats, session.statistics.summary())
        if stopped is not None:
            raise stopped
    return 0


def _show(session, layout: str, display, video, lines, seconds: float | None) -> None:
    """Sends every update to the outputs until the source ends or the user quits."""
    from ..drawing import draw_frame, skeletons_of_poses

    for update in session:
        if lines is not None:
            lines.write(update)
        if update.frame is not None and (display is not None or video is not None):
            skeletons = skeletons_of_poses(update.bodies, update.hands, layout)
            picture = draw_frame(update.frame.image, skeletons, caption(update))
            if video is not None:
                video.write(picture, update.frame.position)
            if display is not None:
                display.show(picture)
        elif display is not None:
            display.read_keys()
        if display is not None and display.closed:
            return
        if seconds is not None and time.monotonic() - update.statistics.started > seconds:
            return


def caption(update) -> list[str]:
    """The lines on an image: the answer, then frame rate, latency and dropped frames."""
    statistics = update.statistics
    latency = 1000 * statistics.latencies[-1] if statistics.latencies else 0.0
    numbers = f'{statistics.fps:.0f} frames/s, {latency:.0f} ms, {statistics.dropped} dropped'
    if not update.bodies:
        return ['nobody', numbers]
    if update.last is None:
        return ['...', numbers]
    return [*update.last.prediction.lines()[:1], numbers]
