"""CPU time of extraction from plain videos by stage, and the share of hands found.

  python tools/analysis/benchmark_extraction.py VIDEOS

Each video is decoded, then its bodies and hands are found as ``extract_hands.py`` does, all in this
process. Stages: decode; pose; hands (all networks and crops of the hand search); association (the
rest). Times are CPU seconds of the process, so other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..datasets.extraction.estimators import Estimator, build_estimator
from ..datasets.extraction.extract import extract_clip
from ..datasets.video import list_videos, open_video
from ..io.atomic import write_json
from ..io.outputs import output_file

STAGES = ('decode', 'pose', 'hands', 'association')


class Timed:
    """An estimator whose CPU time is counted by stage.

    Args:
        estimator: The estimator that is timed.
    """

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self.seconds: Counter = Counter()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.estimator, name)
        stage = {'bodies': 'pose', 'bodies_in': 'pose', 'hands': 'hands'}.get(name)
        return value if stage is None else self._counted(stage, value)

    def _counted(self, stage: str, call: Callable) -> Callable:
        def counted(*args: Any) -> Any:
            start = time.process_time()
            try:
                return call(*args)
            finally:
                self.seconds[stage] += time.process_time() - start

        return counted


def measure(path: Path, timed: Timed) -> dict[str, Any]:
    """Frames, hands found and CPU seconds by stage of one video."""
    timed.seconds.clear()
    start = time.process_time()
    frames = list(open_video(path)[1])
    decoded = time.process_time()
    clip = extract_clip(frames, timed, path.stem)
    end = time.process_time()
    seconds = {'decode': decoded - start, **timed.seconds}
    seconds['association'] = end - decoded - sum(timed.seconds.values())
    return dict(
        frames=len(frames),
        hands=int((clip.hand_score > 0).sum()),
        wrists=2 * int((clip.body_score > 0).sum()),
        seconds={stage: round(seconds.get(stage, 0.0), 3) for stage in STAGES},
    )


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line; returns the rows by video, and ``all``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('videos', type=Path, help='folder of videos')
    parser.add_argument('--only', nargs='+', help='names of videos in it')
    parser.add_argument('--backend', default='mediapipe')
    parser.add_argument('--out', type=output_file, help='JSON file')
    args = parser.parse_args(argv)
    timed = Timed(build_estimator(args.backend))
    rows = {
        name: measure(args.videos / name, timed) for name in args.only or list_videos(args.videos)
    }
    total = {key: sum(row[key] for row in rows.values()) for key in ('frames', 'hands', 'wrists')}
    total['seconds'] = {
        stage: round(sum(row['seconds'][stage] for row in rows.values()), 3) for stage in STAGES
    }
    rows['all'] = total
    for name, row in rows.items():
        seconds = sum(row['seconds'].values())
        stages = ', '.join(
            f'{stage} {1000 * row["seconds"][stage] / row["frames"]:.1f}' for stage in STAGES
        )
        print(
            f'{name:20s} {row["frames"]:5d} frames, {row["hands"]} of {row["wrists"]} hands, '
            f'{row["frames"] / seconds:.1f} frames a CPU second (ms a frame: {stages})'
        )
    if args.out:
        write_json(args.out, rows)
    return rows
