"""Accuracies and calibration of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..datasets.protocols import CLASS_GROUPS
from ..errors import ConfigError

#: What :func:`measure` gives without groups.
MEASURES = ('top1', 'top5', 'mean1', 'ece')


def top_k(scores: np.ndarray, label: np.ndarray, k: int) -> float:
    """Share of clips whose true class is among the ``k`` highest scores, ``(N, K)`` and ``(N,)``.

    A class counts as higher than the true one if its score is greater, or equal and its number is
    smaller. ``argmax`` decides ties in the same way.
    """
    own = scores[np.arange(len(label)), label][:, None]
    earlier = np.arange(scores.shape[1]) < label[:, None]
    rank = ((scores > own) | ((scores == own) & earlier)).sum(1)
    return float((rank < k).mean())


def mean_class_accuracy(predicted: np.ndarray, label: np.ndarray) -> float:
    """Mean accuracy over the classes that occur: the share of right clips, averaged by class."""
    return float(np.mean([(predicted[label == c] == c).mean() for c in np.unique(label)]))


def calibration_error(probabilities: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    r"""Expected calibration error of the top class (Guo et al., ICML 2017).

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{N} |\mathrm{acc}(b) - \mathrm{conf}(b)|

    over ``bins`` bins of equal width of the highest probability; 0 is perfect, 1 the worst.

    Args:
        probabilities: (N, K), rows sum to 1.
        label: (N,).
        bins: Number of bins.
    """
    confidence = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == label
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    # n_b |acc - conf| is the difference of two sums.
    gap = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(label))


def confidence(measure: str, fused: np.ndarray, experts: Mapping[str, np.ndarray]) -> np.ndarray:
    r"""How sure a model is of its best class, ``(N,)`` in [0, 1].

    ``'probability'`` is the largest fused probability. ``'agreement'`` is the geometric mean of the
    probabilities that the present experts give to the class of the largest fused one,

    .. math:: \Bigl(\prod_{e} p_e(\arg\max_k p(k))\Bigr)^{1/E},

    which is low if an expert disagrees, however sure the others are (our choice).

    Args:
        measure: ``'probability'`` or ``'agreement'``.
        fused: Fused probabilities, ``(N, K)``.
        experts: Probabilities of each expert, ``(N, K)``; NaN if it is absent.
    """
    largest = fused.max(1)
    if measure == 'probability' or not experts:
        return largest
    best = fused.argmax(1)
    each = np.stack([value[np.arange(len(best)), best] for value in experts.values()])
    present = np.isfinite(each)
    logs = np.log(np.maximum(np.where(present, each, 1), np.finfo(np.float32).tiny))
    mean = np.exp(logs.sum(0) / np.maximum(present.sum(0), 1))
    return np.where(present.any(0), mean, largest)


def separation(known: np.ndarray, unknown: np.ndarray) -> float:
    """Area under the ROC curve: how often a known value lies above an unknown one, ties half."""
    ranks = np.searchsorted(np.sort(unknown), known, 'left')
    ranks = ranks + np.searchsorted(np.sort(unknown), known, 'right')
    return float(ranks.mean() / (2 * len(unknown)))


def log_softmax(z: np.ndarray) -> np.ndarray:
    """Log softmax over the last axis, in float64."""
    z = np.asarray(z, dtype=np.float64)
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis in float64."""
    z = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return z / z.sum(-1, keepdims=True)


def group_members(
    groups: Sequence[str] | Mapping[str, Sequence[str]], classes: Sequence[str]
) -> dict[str, np.ndarray]:
    """Class numbers of named groups of classes.

    Args:
        groups: Names from ``protocols.CLASS_GROUPS``, or a dict of name to class names.
        classes: Names of all classes in order.

    Raises:
        ConfigError: An unknown group, or a class that the data set lacks.
    """
    if not isinstance(groups, Mapping):
        unknown = [name for name in groups if name not in CLASS_GROUPS]
        if unknown:
            raise ConfigError(
                'class_groups',
                f'{unknown}',
                f'some of {sorted(CLASS_GROUPS)}, or a dict of name to class names',
                'correct the names',
            )
        groups = {name: CLASS_GROUPS[name] for name in groups}
    number = {name: i for i, name in enumerate(classes)}
    for name, members in groups.items():
        strange = [member for member in members if member not in number]
        if strange or not len(members):
            raise ConfigError(
                f'class_groups, {name}',
                f'classes {strange[:3]} that the data set has not' if strange else 'no class',
                f'class names such as {list(classes[:3])}',
                'use this group with the data set that it is of, or correct the names',
            )
    return {
        name: np.array([number[member] for member in members]) for name, members in groups.items()
    }


def measure(
    scores: np.ndarray, label: np.ndarray, groups: Mapping[str, np.ndarray] | None = None
) -> dict[str, float]:
    """Top-1, top-5, mean class accuracy and calibration error, and top-1 by group.

    Args:
        scores: (N, K) probabilities.
        label: (N,).
        groups: Name to class numbers; ``<name>_top1`` is computed on the clips whose true class is
            in the group, with all classes as possible answers. A group without a clip is left out.
    """
    values = (
        top_k(scores, label, 1),
        top_k(scores, label, 5),
        mean_class_accuracy(scores.argmax(1), label),
        calibration_error(scores, label),
    )
    result = dict(zip(MEASURES, values, strict=True))
    for name, members in (groups or {}).items():
        inside = np.isin(label, members)
        if inside.any():
            result[f'{name}_top1'] = top_k(scores[inside], label[inside], 1)
    return result
