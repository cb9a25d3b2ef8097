"""Training curves, read from MMEngine's log files."""

from __future__ import annotations

import contextlib
import os
from json import JSONDecodeError
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import SourceError
from ..io.guard import reading
from ..io.text import parse_json, read_lines
from ..log import warn

_EXPECTED = 'the log of a training, one JSON object a line'
_FIX = 'remove the file, or train again'


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError(f'the number {str(value)[:40]!r} of an iteration or epoch')
    return value


def _numbers(row: dict) -> dict[str, float]:
    """The entries that are numbers: a row has others, such as its time, as well."""
    return {k: v for k, v in row.items() if isinstance(v, (int, float)) and abs(v) < 1e300}


class TrainingCurve(NamedTuple):
    """Training losses and validation measures by epoch."""

    losses: dict[str, np.ndarray]  # name → (n, 2): epoch with fraction, value
    measures: dict[str, np.ndarray]  # name → (m, 2): epoch, value


def _rows(path: Path) -> list:
    lines, rows = read_lines(path, expected=_EXPECTED), []
    for line in lines:
        with reading(path, _EXPECTED, _FIX), contextlib.suppress(JSONDecodeError):
            rows.append(parse_json(line))
    if lines and not rows:
        raise SourceError(f'{path}', 'no line that is JSON', _EXPECTED, _FIX)
    if len(rows) < len(lines):
        warn(f'{path}: {len(lines) - len(rows)} lines are cut, and left out')
    return rows


def read_training_curve(work_dir: str | os.PathLike) -> TrainingCurve:
    """The curve of a work folder, from all of its ``vis_data/scalars.json``.

    A resumed training continues the one before it. If iterations were repeated, the later values
    are used. An empty curve is returned for a folder without a log. Lines that a kill or a full
    disk has cut are left out with a warning.

    Raises:
        SourceError: A file is not the log of a training.
    """
    rows: dict[str, dict[int, dict]] = {'train': {}, 'test': {}}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for row in _rows(path):
            with reading(path, _EXPECTED, _FIX):
                if 'loss' in row:
                    rows['train'][_count(row['iter'])] = _numbers(row) | {
                        'epoch': _count(row['epoch'])
                    }
                elif 'step' in row and any(key.startswith('acc/') for key in row):
                    rows['test'][_count(row['step'])] = _numbers(row)
    train = [rows['train'][i] for i in sorted(rows['train'])]
    test = [rows['test'][i] for i in sorted(rows['test']) if i > 0]  # step 0 is tools/test.py's
    per_epoch = (
        max((row['iter'] / row['epoch'] for row in train if row['epoch']), default=0.0) or 1.0
    )

    def column(source: list[dict], name: str, place) -> np.ndarray:
        points = [(place(row), row[name]) for row in source if name in row]
        return np.array(points, dtype=float).reshape(-1, 2)

    losses = {name for row in train for name in row if name.startswith('loss')}
    measures = {name for row in test for name in row if name.startswith('acc/')}
    return TrainingCurve(
        {name: column(train, name, lambda row: row['iter'] / per_epoch) for name in sorted(losses)},
        {name: column(test, name, lambda row: row['step']) for name in sorted(measures)},
    )
