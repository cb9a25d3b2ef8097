"""Trains, converts and reads for minutes, and measures memory, open files and threads.

``python tests/reliability/soak.py --minutes 30 --json FILE``
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
from pathlib import Path
from typing import Any

import psutil
import torch

TESTS = Path(__file__).resolve().parents[1]
for place in ('reliability', 'engine'):
    sys.path.insert(0, str(TESTS / place))
import formats  # noqa: E402
from fuzz import _read_regions, _read_store, _tool  # noqa: E402
from toy_training import make_runner  # noqa: E402


def rounds(folder: Path) -> Any:
    """Yields after each round: a training with validation, a conversion, and both stores read."""
    convert = _tool('ntu')
    formats.write_ntu(folder / 'ntu', 20)
    formats.write_store(folder / 'store', 20)
    formats.write_regions(folder / 'regions', 10)
    for number in itertools.count():
        runner = make_runner(folder / 'work', f'soak{number}', log_level='ERROR')
        runner.train()
        _forget(runner)
        convert(folder / 'ntu')
        _read_store(folder / 'store')
        _read_regions(folder / 'regions')
        for path in ('work', 'out'):
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


def soak(minutes: float) -> list[dict[str, float]]:
    """Rounds for so long; the states at the start (after three rounds) and at 20 moments after."""
    process, begun, rows = psutil.Process(), time.monotonic(), []
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        for number, _ in enumerate(rounds(Path(scratch)), 1):
            passed = time.monotonic() - begun
            if number >= 3 and passed >= 60 * minutes * len(rows) / 20:
                rows.append(state(process, begun, number))
            if passed >= 60 * minutes and len(rows) > 1:
                return rows
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.fsync = lambda handle: None
    rows = soak(args.minutes)
    for row in rows:
        print(row)
    if args.json:
        from bharnet_mm.io.atomic import write_json

        write_json(args.json, rows)
    middle = rows[len(rows) // 2]
    grown = [
        name
        for name, slack in (('memory_mb', 20), ('open_files', 2), ('threads', 0))
        if rows[-1][name] > middle[name] + slack
    ]
    sys.exit(f'grown in the second half: {grown}' if grown else 0)


if __name__ == '__main__':
    main()
