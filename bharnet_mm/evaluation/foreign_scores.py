"""Score files of other programs: MMAction2's dumps and pyskl's results."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..datasets.clip import ID_KEYS
from ..datasets.sources.pyskl import annotation_id, load_annotations
from ..errors import ConfigError, SourceError
from ..io.guard import reads
from ..io.safe_pickle import RestrictedUnpickler, load_pickle
from .scores import Scores, load_scores


def _storage(data: Any) -> Any:
    """A tensor's storage. torch's own function is not used, since it loads it as a full pickle."""
    import torch

    return torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *more: Any) -> np.ndarray:
    """A pickled tensor as an array."""
    import torch

    if not isinstance(storage, torch.storage.TypedStorage):
        raise ValueError('a tensor without a storage')
    whole = torch.empty(0, dtype=storage.dtype).set_(storage).float().numpy()
    shape, steps = tuple(size), tuple(stride)
    if len(shape) != len(steps) or any(n < 0 for n in (offset, *shape, *steps)):
        raise ValueError('a tensor of an impossible form')
    last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    if math.prod(shape) > whole.size or (math.prod(shape) and last >= whole.size):
        raise ValueError('a tensor that promises more than its storage has')
    steps = tuple(step * whole.itemsize for step in steps)
    return np.lib.stride_tricks.as_strided(whole[offset:], shape, steps).copy()


class DumpUnpickler(RestrictedUnpickler):
    """Unpickler that also reads the torch tensors of MMAction2's dumps, as arrays."""

    admitted: ClassVar[Mapping[tuple[str, str], Callable]] = {
        **RestrictedUnpickler.admitted,
        ('torch._utils', '_rebuild_tensor_v2'): _tensor,
        ('torch.storage', '_load_from_bytes'): _storage,
    }


@reads('a score file of ours, MMAction2 or pyskl')
def read_scores(
    path: str | os.PathLike,
    annotations: str | os.PathLike | None = None,
    split: str | None = None,
    classes: Sequence[str] | None = None,
) -> Scores:
    """Reads a score file of this package (``.npz``), MMAction2 or pyskl (``.pkl``).

    - MMAction2: ``--dump`` of its ``tools/test.py``, a list of data samples. They contain clip ids
      only if ``PackActionInputs`` has ``meta_keys=('frame_dir',)`` or similar.
    - pyskl: ``--out`` of its ``tools/test.py``, a list of an array (K,) or (clips, K) for each clip
      in the order of the split. The ids come from the annotation pickle.

    Probabilities are converted to log probabilities. The name of the expert is ``pred``.

    Args:
        path: The file.
        annotations: MMAction2's or pyskl's annotation pickle, for files without ids or labels.
        split: Its split that was tested; by default all annotations.
        classes: Names of the classes; by default their numbers.

    Raises:
        SourceError: The file has none of these formats.
        ConfigError: The clips of the file are not known.
    """
    if Path(path).suffix not in ('.pkl', '.pickle'):
        return load_scores(path)
    rows = load_pickle(path, DumpUnpickler)
    if not isinstance(rows, list) or not rows:
        raise SourceError(
            f'{path}', f'a {type(rows).__name__}', 'a list with one entry a clip', 'dump it again'
        )
    listed = _listed(annotations, split)
    if all(isinstance(row, dict) for row in rows):
        clip_id, label, scores = _data_samples(path, rows, listed)
    else:
        clip_id, label, scores = _arrays(path, rows, listed)
    names = classes or [str(i) for i in range(scores.shape[1])]
    return Scores(
        np.array(clip_id, dtype=np.str_),
        np.array(label, dtype=np.int64),
        {'pred': _to_log(scores)},
        tuple(names),
    )


def _to_log(scores: np.ndarray) -> np.ndarray:
    """The logarithm of probabilities; logits are returned unchanged."""
    if (scores >= 0).all() and np.allclose(scores.sum(1), 1, atol=1e-3):
        scores = np.log(np.maximum(scores, np.finfo(np.float32).tiny))
    return scores.astype(np.float32)


def _listed(
    annotations: str | os.PathLike | None, split: str | None
) -> list[tuple[str, int]] | None:
    """Id and label of each annotation of a split, in the order of MMAction2's data set."""
    if annotations is None:
        return None
    rows, splits = load_annotations(annotations)
    if split is not None and split not in splits:
        raise ConfigError(
            f'{annotations}', f'no split {split!r}', f'one of {sorted(splits)}', 'correct the name'
        )
    wanted = None if split is None else set(splits[split])
    pairs = [(annotation_id(row), int(row['label'])) for row in rows]
    return [pair for pair in pairs if wanted is None or pair[0] in wanted]


def _data_samples(path, rows: list[dict], listed) -> tuple[list[str], list[int], np.ndarray]:
    def value(row: dict, name: str) -> np.ndarray:
        if name not in row:
            raise SourceError(
                f'{path}',
                f'a data sample with {sorted(row)}',
                'pred_score and gt_label in each',
                "dump it with MMAction2's tools/test.py",
            )
        item = row[name]
        # MMAction2 before 1.2 keeps them as dict(item=...)
        item = item.get('item') if isinstance(item, dict) else item
        return np.asarray(item, dtype=np.float64)

    scores = np.stack([value(row, 'pred_score') for row in rows])
    key = next((k for k in ID_KEYS if all(row.get(k) is not None for row in rows)), None)
    if key is not None:
        clip_id = [str(row[key]) for row in rows]
    elif listed is not None:
        _check_count(path, len(rows), len(listed))
        clip_id = [pair[0] for pair in listed]
    else:
        raise ConfigError(
            f'{path}',
            'data samples that do not say which clips they are of',
            f'one of {ID_KEYS} in each',
            "end the pipeline with PackActionInputs(meta_keys=('frame_dir',)) and test again, or "
            'name the annotations and split that were tested',
        )
    return clip_id, [int(value(row, 'gt_label').reshape(-1)[0]) for row in rows], scores


def _arrays(path, rows: list, listed) -> tuple[list[str], list[int], np.ndarray]:
    if listed is None:
        raise ConfigError(
            f'{path}',
            'scores without ids and labels',
            'the annotations that say which clips they are of',
            'name the annotation pickle and the split that was tested',
        )
    _check_count(path, len(rows), len(listed))
    arrays = [np.asarray(row, dtype=np.float64) for row in rows]
    # Several views of a clip: their mean.
    scores = [
        array.reshape(-1, array.shape[-1]).mean(0) if array.ndim else array for array in arrays
    ]
    if len({score.shape for score in scores}) != 1 or scores[0].ndim != 1:
        raise SourceError(
            f'{path}', 'entries of several shapes', 'one array (K,) a clip', 'dump it again'
        )
    return [pair[0] for pair in listed], [pair[1] for pair in listed], np.stack(scores)


def _check_count(path, found: int, expected: int) -> None:
    if found != expected:
        raise ConfigError(
            f'{path}',
            f'{found} clips',
            f'{expected} of the split',
            'name the split it was tested on',
        )
