"""Training curves, read from MMEngine's log files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np


class TrainingCurve(NamedTuple):
    """Training losses and validation measures by epoch."""

    losses: dict[str, np.ndarray]  # name → (n, 2): epoch with fraction, value
    measures: dict[str, np.ndarray]  # name → (m, 2): epoch, value


def read_training_curve(work_dir: str | os.PathLike) -> TrainingCurve:
    """The curve of a work folder, from all of its ``vis_data/scalars.json``.

    A resumed training continues the one before it. If iterations were repeated, the later values
    are used. An empty curve is returned for a folder without a log.
    """
    rows: dict[str, dict[int, dict]] = {'train': {}, 'test': {}}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if 'loss' in row:
                rows['train'][row['iter']] = row
            elif 'step' in row and any(key.startswith('acc/') for key in row):
                rows['test'][row['step']] = row
    train = [rows['train'][i] for i in sorted(rows['train'])]
    test = [rows['test'][i] for i in sorted(rows['test']) if i > 0]  # step 0 is tools/test.py's
    per_epoch = max((row['iter'] / row['epoch'] for row in train), default=1.0)

    def column(source: list[dict], name: str, place) -> np.ndarray:
        points = [(place(row), row[name]) for row in source if name in row]
        return np.array(points, dtype=float).reshape(-1, 2)

    losses = {name for row in train for name in row if name.startswith('loss')}
    measures = {name for row in test for name in row if name.startswith('acc/')}
    return TrainingCurve(
        {name: column(train, name, lambda row: row['iter'] / per_epoch) for name in sorted(losses)},
        {name: column(test, name, lambda row: row['step']) for name in sorted(measures)},
    )
