"""Fusion of score files: aligned by clip id, weighted, compared."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ConfigError
from .scores import Scores

METHODS = ('sum', 'mean_prob', 'noisy_or')


def align(members: Mapping[str, Scores]) -> dict[str, Scores]:
    """Puts the clips of all members in the order of the first, by clip id.

    Args:
        members: Name, for instance the path, to scores.

    Raises:
        ConfigError: Members with other clips, labels or classes than the first; says which.
    """
    first_name, first = next(iter(members.items()))
    aligned = {}
    for name, scores in members.items():
        where = f'{name} against {first_name}'
        missing = np.setdiff1d(first.clip_id, scores.clip_id)
        extra = np.setdiff1d(scores.clip_id, first.clip_id)
        if missing.size or extra.size:
            found = [
                f'{len(ids)} clips {what}, such as {", ".join(map(repr, ids[:3].tolist()))}'
                for ids, what in ((missing, 'missing'), (extra, 'that the other has not'))
                if len(ids)
            ]
            raise ConfigError(
                where, '; '.join(found), 'the same clips in both', 'score both on the same split'
            )
        if scores.classes != first.classes and not _numbered(scores, first):
            raise ConfigError(
                where,
                f'the classes {list(scores.classes[:5])} ... ({len(scores.classes)})',
                f'{list(first.classes[:5])} ... ({len(first.classes)})',
                'score both on the same data set',
            )
        place = {clip_id: i for i, clip_id in enumerate(scores.clip_id.tolist())}
        order = np.array([place[clip_id] for clip_id in first.clip_id.tolist()], dtype=np.int64)
        label = scores.label[order]
        wrong = np.flatnonzero(label != first.label)
        if wrong.size:
            i = wrong[0]
            raise ConfigError(
                where,
                f'{wrong.size} labels that differ, such as {label[i]} for {first.clip_id[i]!r}',
                f'{first.label[i]}',
                'find out which of the two data sets has the right labels',
            )
        aligned[name] = Scores(
            clip_id=first.clip_id,
            label=label,
            logits={expert: value[order] for expert, value in scores.logits.items()},
            classes=first.classes,
        )
    return aligned


def _numbered(a: Scores, b: Scores) -> bool:
    """Whether as many classes, one of the two without names (numbers from 0)."""
    numbers = tuple(str(i) for i in range(len(a.classes)))
    return len(a.classes) == len(b.classes) and numbers in (a.classes, b.classes)


def concatenate(parts: Sequence[Scores]) -> Scores:
    """Scores of different clips, such as the folds of a cross-validation, as one.

    Only what all parts have of the experts is kept.

    Raises:
        ConfigError: Other classes, or a clip in two parts.
    """
    for part in parts[1:]:
        if part.classes != parts[0].classes:
            raise ConfigError(
                'scores to be put together',
                f'classes {list(part.classes[:5])} ...',
                f'{list(parts[0].classes[:5])} ...',
                'put scores of one data set together',
            )
    experts = [name for name in parts[0].logits if all(name in part.logits for part in parts)]
    return Scores(
        np.concatenate([part.clip_id for part in parts]),
        np.concatenate([part.label for part in parts]),
        {name: np.concatenate([part.logits[name] for part in parts]) for name in experts},
        parts[0].classes,
    )


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Log softmax over the last axis, in float64."""
    z = logits.astype(np.float64)
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def fuse(
    logits: Sequence[np.ndarray], weights: Sequence[float] | None = None, method: str = 'sum'
) -> np.ndarray:
    r"""Log probabilities of the fused members.

    With :math:`p_i = \mathrm{softmax}(z_i)` and weights :math:`w_i`, normalised over the classes:

    - ``sum``: :math:`\sum_i w_i \log p_i`, which orders the classes as the weighted sum of logits.
    - ``mean_prob``: :math:`\log \sum_i w_i p_i`.
    - ``noisy_or``: :math:`\log\big(1 - \prod_i (1 - p_i)^{w_i}\big)`: one confident member is
      enough.

    Args:
        logits: Members, each (N, K), clips in the same order.
        weights: One a member, not negative; by default 1 each.
        method: One of :data:`METHODS`.

    Returns:
        (N, K) float64.
    """
    weights = [1.0] * len(logits) if weights is None else [float(w) for w in weights]
    if method not in METHODS:
        raise ConfigError('fusion', repr(method), f'one of {METHODS}', 'correct the name')
    if len(weights) != len(logits) or min(weights, default=0) < 0 or sum(weights) <= 0:
        raise ConfigError(
            'fusion weights',
            f'{weights} for {len(logits)} members',
            'one for each, not negative and not all 0',
            'correct the weights',
        )
    logs = [log_probabilities(z) for z in logits]
    if method == 'sum':
        fused = sum(w * z for w, z in zip(weights, logs, strict=True))
    elif method == 'mean_prob':
        fused = np.log(sum(w * np.exp(z) for w, z in zip(weights, logs, strict=True)) + 1e-300)
    else:
        # Of probabilities that round to 1 the others tell which class is meant: keep 1 - p > 0.
        none = sum(
            w * np.log(np.maximum(-np.expm1(z), 1e-12)) for w, z in zip(weights, logs, strict=True)
        )
        fused = np.log(np.maximum(-np.expm1(none), 1e-300))
    return log_probabilities(fused)


def search_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, step: float = 0.1, method: str = 'sum'
) -> tuple[list[float], float]:
    """The best weights of a grid that sum to 1, on clips that are not the test's.

    Of weights with equal top-1 those with the smaller mean negative log likelihood win.

    Returns:
        Weights and their top-1 on these clips.
    """
    count = round(1 / step)
    best = None
    for cuts in itertools.combinations(range(count + len(logits) - 1), len(logits) - 1):
        edges = (-1, *cuts, count + len(logits) - 1)
        weights = [(b - a - 1) / count for a, b in itertools.pairwise(edges)]
        fused = fuse(logits, weights, method)
        top1 = float((fused.argmax(1) == label).mean())
        loss = -float(fused[np.arange(len(label)), label].mean())
        if best is None or (top1, -loss) > (best[1], -best[2]):
            best = weights, top1, loss
    return best[0], best[1]


def bootstrap_interval(
    correct: np.ndarray, level: float = 0.95, rounds: int = 10000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean over clips, or of a mean difference.

    Args:
        correct: (N,) bool, or the difference of two such as float.
        level: Coverage.
        rounds: Resamples of the clips.
        seed: Of the resampling.
    """
    generator = np.random.default_rng(seed)
    values = np.asarray(correct, dtype=np.float64)
    # Only how often each value is drawn matters, which is multinomial.
    distinct, counts = np.unique(values, return_counts=True)
    drawn = generator.multinomial(len(values), counts / len(values), size=rounds)
    means = drawn @ distinct / len(values)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> dict[str, float]:
    """Exact McNemar test of two entries on the same clips.

    Under the null hypothesis a clip that only one of the two gets right is equally likely to be
    either's: two-sided binomial test (McNemar, Psychometrika 1947).

    Returns:
        ``only_a``, ``only_b``: such clips; ``p_value``.
    """
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(k + 1))
    return {'only_a': only_a, 'only_b': only_b, 'p_value': min(1.0, float(2 * tail / 2**n))}
