"""Finds the checkpoint from which a training continues."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import CheckpointError
from ..io.text import read_text
from ..io.weights import load_weights
from ..log import warn

_STEP = re.compile(r'(epoch|iter)_(\d+)\.pth')


def newest_checkpoint(work_dir: str | os.PathLike) -> Path | None:
    """The newest checkpoint of a work folder that loads; None if there is none at all.

    This is the one that ``last_checkpoint`` names, in this folder if it was moved or copied, or an
    earlier one if it does not load. Skipped checkpoints are logged.

    Raises:
        CheckpointError: There are checkpoints, but none of them loads.
    """
    folder = Path(work_dir)
    found = {path: _step(path) for path in folder.glob('*.pth') if _STEP.fullmatch(path.name)}
    pointer = folder / 'last_checkpoint'
    candidates = sorted(found, key=found.get, reverse=True)
    problems = []
    named = None
    if pointer.is_file():
        try:
            text = read_text(pointer, 'the path of a checkpoint', error=CheckpointError)
            named = Path(text.strip())
        except CheckpointError as error:
            problems.append(f'{pointer.name}: {error.found}')
    if named is not None:
        own = folder / named.name  # of a folder that was moved or copied
        last = own if own.is_file() or not named.is_file() else named
        before = [path for path in candidates if path.name != last.name]
        if _STEP.fullmatch(last.name):
            before = [path for path in before if found[path] < _step(last)]
        candidates = [last, *before]
    for path in candidates:
        try:
            if {'meta', 'message_hub', 'optimizer'} <= set(load_weights(path)):
                break
            problems.append(f'{path.name}: weights only')
        except CheckpointError as error:
            problems.append(f'{path.name}: {error.found}')
    else:
        if problems:
            raise CheckpointError(
                f'{folder}',
                f'no checkpoint that loads ({"; ".join(problems)})',
                'one that a training can go on from',
                'train again in another folder, or restore a checkpoint',
            )
        return None
    if problems:
        warn(
            f'Resuming from {path}, the newest checkpoint that loads; passed over: '
            + '; '.join(problems)
        )
    return path


def _step(path: Path) -> int:
    return int(_STEP.fullmatch(path.name)[2])
