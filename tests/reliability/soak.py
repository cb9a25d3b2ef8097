"""Trains, converts, extracts, reads and predicts for minutes; measures memory, files and threads.

``python tests/reliability/soak.py --minutes 30 --json FILE``

With ``--share 0.15`` it rests between its rounds, so that it takes about that part of a core.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

TESTS = Path(__file__).resolve().parents[1]
for place in ('reliability', 'engine', 'datasets/extraction', '.'):
    sys.path.insert(0, str(TESTS / place))
import formats  # noqa: E402
from fake_estimator import BACKEND, moving, write_video  # noqa: E402
from readers import read_region_store, read_store, tool  # noqa: E402
from toy_training import make_runner  # noqa: E402

from bharnet_mm.apis.inferencer import BodyHandInferencer  # noqa: E402
from bharnet_mm.datasets.extraction.output import Settings  # noqa: E402
from bharnet_mm.datasets.extraction.runner import extract  # noqa: E402
from bharnet_mm.io.atomic import write_json  # noqa: E402


def rounds(folder: Path) -> Any:
    """Yields after each round: a training with validation, a conversion, an extraction from videos
    (with an estimator that needs no model), stores read, and clips judged by the shipped model.
    """
    convert = tool('ntu')
    formats.write_ntu(folder / 'ntu', 20)
    formats.write_store(folder / 'store', 20)
    formats.write_regions(folder / 'regions', 10)
    holistic = tool('holistic')
    holistic(formats.write_holistic(folder / 'vectors/tree'))
    (folder / 'vectors/out').rename(folder / 'clips')
    for i in range(3):
        write_video(folder / f'videos/wave/S{i}.avi', moving(12, seed=i))
    infer = BodyHandInferencer('bharnet_light_asl10')
    for number in itertools.count():
        runner = make_runner(folder / 'work', f'soak{number}', log_level='ERROR')
        runner.train()
        _forget(runner)
        convert(folder / 'ntu')
        extract(folder / 'videos', folder / 'extracted', Settings(backend=BACKEND), workers=0)
        for store in ('store', 'out', 'extracted'):
            read_store(folder / store)
        read_region_store(folder / 'regions')
        assert len(list(infer(folder / 'clips'))) == 6
        for path in ('work', 'out', 'extracted'):
            shutil.rmtree(folder / path)
        yield


def _forget(runner: Any) -> None:
    """MMEngine keeps every logger, hub and visualizer by name for as long as the process lives."""
    from mmengine.utils import ManagerMixin

    for kind in ManagerMixin.__subclasses__():
        kind._instance_dict.pop(runner.experiment_name, None)
    for handler in list(runner.logger.handlers):
        handler.close()


def state(process: psutil.Process, begun: float, number: int) -> dict[str, float]:
    """What could grow."""
    return {
        'minutes': round((time.monotonic() - begun) / 60, 2),
        'rounds': number,
        'memory_mb': round(process.memory_info().rss / 2**20, 1),
        'open_files': process.num_fds(),
        'threads': threading.active_count(),
    }


def soak(
    minutes: float, share: float = 1.0, seen: Callable[[list], None] = lambda rows: None
) -> list[dict[str, float]]:
    """Rounds for so long; the states after three rounds and then each minute.

    Args:
        minutes: How long.
        share: Part of a core that it takes.
        seen: Called with the rows so far.
    """
    process, begun, rows = psutil.Process(), time.monotonic(), []
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        used = time.process_time()
        for number, _ in enumerate(rounds(Path(scratch)), 1):
            passed = time.monotonic() - begun
            if number >= 3 and passed >= 60 * len(rows):
                rows.append(state(process, begun, number))
                seen(rows)
            if passed >= 60 * minutes and len(rows) > 1:
                return rows
            used, before = time.process_time(), used
            time.sleep((used - before) * (1 / share - 1))
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--share', type=float, default=1.0, help='of a core that it takes (1)')
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.fsync = lambda handle: None

    def seen(rows: list[dict[str, float]]) -> None:
        print(rows[-1], file=sys.stderr, flush=True)
        if args.json:
            write_json(args.json, rows)

    grown = growth(soak(args.minutes, args.share, seen))
    sys.exit(f'grown in the second half: {grown}' if grown else 0)


def growth(rows: list[dict[str, float]]) -> list[str]:
    """Growth from the middle row to the last, beyond the slack of the allocator."""
    middle = rows[len(rows) // 2]
    slack = {'memory_mb': 20, 'open_files': 2, 'threads': 0}
    return [name for name, more in slack.items() if rows[-1][name] > middle[name] + more]


if __name__ == '__main__':
    main()
