"""Score files: every expert's logits with the ids of the clips they belong to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, SourceError
from ..io.arrays import load_npz, write_npz
from ..io.atomic import atomic_write
from ..io.guard import reading
from ..io.text import parse_json

_SUFFIX = '_logits'


@dataclass(frozen=True)
class Scores:
    """Logits of N clips, K classes.

    Args:
        clip_id (np.ndarray): (N,) of str, unique.
        label (np.ndarray): (N,) int64, the true classes; all -1 if no clip has one.
        logits (dict[str, np.ndarray]): Expert (`body`, `hand`, `fused` ...) to (N, K) float32.
        classes (tuple[str, ...]): K names.
        facts (Mapping): Where the scores come from: ``config``, ``feature``, ``checkpoint``,
            ``checkpoint_sha256``, ``store``, ``split`` and ``clips``, if they are known.

    Raises:
        ConfigError: Shapes that disagree, a label outside the classes, or an id that occurs twice.
    """

    clip_id: np.ndarray
    label: np.ndarray
    logits: dict[str, np.ndarray]
    classes: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count, classes = len(self.clip_id), len(self.classes)
        expected = {'label': (self.label.shape, (count,))}
        expected |= {k + _SUFFIX: (v.shape, (count, classes)) for k, v in self.logits.items()}
        for name, (shape, wanted) in expected.items():
            if shape != wanted:
                raise ConfigError(
                    f'scores, {name}',
                    f'shape {shape}',
                    f'{wanted} for {count} clips and {classes} classes',
                    'give one row for each clip and one column for each class',
                )
        labelled = bool((self.label != -1).any())
        if count and labelled and not 0 <= self.label.min() <= self.label.max() < classes:
            raise ConfigError(
                'scores, label',
                f'labels {self.label.min()} to {self.label.max()}',
                f'0 to {classes - 1}',
                'give the class names that belong to these labels',
            )
        names, times = np.unique(self.clip_id, return_counts=True)
        if (times > 1).any():
            raise ConfigError(
                'scores, clip_id',
                f'{str(names[times > 1][0])!r} more than once',
                'each clip once',
                'average repeated views of a clip before writing scores',
            )

    def __len__(self) -> int:
        return len(self.clip_id)

    def correct(self, expert: str) -> np.ndarray:
        """Which clips this expert gets right, (N,) bool. Of equal logits the first one counts."""
        if expert not in self.logits:
            raise ConfigError(
                'scores', f'expert {expert!r}', f'one of {sorted(self.logits)}', 'correct the name'
            )
        return self.logits[expert].argmax(axis=1) == self.label

    def top1(self, expert: str) -> float:
        """Share of clips that this expert gets right, 0 to 1."""
        return float(self.correct(expert).mean())


def save_scores(
    path: str | os.PathLike,
    clip_id: Sequence[str],
    label: Sequence[int] | np.ndarray,
    logits: Mapping[str, np.ndarray],
    classes: Sequence[str],
    facts: Mapping[str, Any] | None = None,
) -> Scores:
    """Writes an npz: `clip_id`, `label`, `classes`, `facts` (JSON) and `<expert>_logits` for each
    expert.

    The file appears whole or not at all, and holds no pickled object.

    Args:
        path (str | os.PathLike): Ends in `.npz`; its folder is made if needed.
        clip_id (Sequence[str]): N ids.
        label (Sequence[int] | np.ndarray): N class numbers.
        logits (Mapping[str, np.ndarray]): Expert to (N, K).
        classes (Sequence[str]): K names.
        facts (Mapping, optional): See :class:`Scores`.

    Returns:
        Scores: What was written.
    """
    path = Path(path)
    if path.suffix != '.npz':
        raise ConfigError('save_scores', f'path {str(path)!r}', 'a .npz file', 'end it in .npz')
    scores = Scores(
        clip_id=np.array([str(item) for item in clip_id], dtype=np.str_),
        label=np.asarray(label, dtype=np.int64),
        logits={name: np.asarray(value, dtype=np.float32) for name, value in logits.items()},
        classes=tuple(str(name) for name in classes),
        facts=dict(facts or {}),
    )
    with atomic_write(path, 'wb') as stream:
        write_npz(
            stream,
            dict(
                clip_id=scores.clip_id,
                label=scores.label,
                classes=np.array(scores.classes, dtype=np.str_),
                facts=np.array(json.dumps(scores.facts)),
                **{name + _SUFFIX: value for name, value in scores.logits.items()},
            ),
        )
    return scores


def load_scores(path: str | os.PathLike) -> Scores:
    """Reads what `save_scores` wrote.

    Raises:
        SourceError: The file does not exist, is not a score file, or lacks an array.
    """
    fix = 'write it with tools/test.py --dump'
    arrays = load_npz(path, 'an npz file of scores', fix)
    missing = {'clip_id', 'label', 'classes'} - set(arrays)
    if missing:
        raise SourceError(f'{path}', f'no array {sorted(missing)}', 'clip_id, label, classes', fix)
    with reading(path, 'an npz file of scores', fix):
        return Scores(
            clip_id=arrays['clip_id'],
            label=arrays['label'],
            logits={
                name.removesuffix(_SUFFIX): value
                for name, value in arrays.items()
                if name.endswith(_SUFFIX)
            },
            classes=tuple(arrays['classes'].tolist()),
            facts=_facts(path, arrays.get('facts')),
        )


def _facts(path: str | os.PathLike, text: np.ndarray | None) -> dict[str, Any]:
    """The facts of a file; files of earlier versions have none."""
    if text is None:
        return {}
    try:
        facts = parse_json(str(text))
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise SourceError(f'{path}, facts', f'{str(text)[:60]!r}', 'a JSON object', 'dump it again')
    return facts
