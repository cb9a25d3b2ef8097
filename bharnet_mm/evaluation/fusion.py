"""Fusion of score files: alignment by clip id, weights and comparisons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from .measures import log_softmax
from .scores import Scores

#: Weight of the prior of a temperature, in clips.
TEMPERATURE_PRIOR = 10.0


def align(members: Mapping[str, Scores]) -> dict[str, Scores]:
    """Puts the clips of all members in the order of the first, by clip id.

    Args:
        members: Name, for instance the path, to scores.

    Raises:
        ConfigError: A member has other clips, labels or classes than the first one; the message
            names them.
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
            facts=scores.facts,
        )
    return aligned


def check_twins(members: Mapping[str, Scores], experts: Mapping[str, str]) -> None:
    """Refuses two members that are predictions of the same model.

    Two members are twins if they are of the same expert of the same checkpoint, or if their
    ``pred`` probabilities are equal up to rounding.

    Args:
        members: Name to aligned scores.
        experts: Name to the expert whose logits the member's ``pred`` are.

    Raises:
        ConfigError: Two members are twins; the message names them.
    """
    for (a, first), (b, second) in itertools.combinations(members.items(), 2):
        digests = [scores.facts.get('checkpoint_sha256') for scores in (first, second)]
        same = digests[0] is not None and digests[0] == digests[1] and experts[a] == experts[b]
        pair = [np.exp(fuse([scores.logits['pred']])) for scores in (first, second)]
        equal = np.allclose(*pair, rtol=0, atol=1e-6)
        if same or equal:
            checkpoint = first.facts.get('checkpoint', 'unknown')
            what = f'the {experts[a]!r} logits of one checkpoint ({checkpoint})'
            raise ConfigError(
                f'score files {a} and {b}',
                what if same else 'equal scores',
                'members that differ, such as models of two features',
                'remove one of them',
            )


def _numbered(a: Scores, b: Scores) -> bool:
    """Whether both have as many classes and one of them has numbers in place of names."""
    numbers = tuple(str(i) for i in range(len(a.classes)))
    return len(a.classes) == len(b.classes) and numbers in (a.classes, b.classes)


def concatenate(parts: Sequence[Scores]) -> Scores:
    """Joins the scores of different clips, such as the folds of a cross-validation.

    Only experts that all parts have are kept.

    Raises:
        ConfigError: The classes differ, or a clip is in two parts.
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
        {
            name: value
            for name, value in parts[0].facts.items()
            if all(part.facts.get(name) == value for part in parts)
        },
    )


def fuse(
    logits: Sequence[np.ndarray], weights: Sequence[float] | None = None, method: str = 'sum'
) -> np.ndarray:
    """Log probabilities of the fused members, by the rules of :func:`bharnet_mm.fusion.fuse`.

    A member whose logits of a clip are all 0 was absent in it, because only an absent expert gives
    such logits. It has no influence on the clip.

    Args:
        logits: Members, each (N, K), clips in the same order.
        weights: One for each member, not negative; by default 1 each.
        method: One of ``bharnet_mm.fusion.METHODS``.

    Returns:
        (N, K) float64.
    """
    import torch  # here, since commands that only read score files start without it

    from .. import fusion as rules

    members = [torch.from_numpy(np.asarray(z, dtype=np.float64)) for z in logits]
    present = [(z != 0).any(-1) for z in members]
    return rules.fuse(members, present, weights, method).numpy()


@dataclass(frozen=True)
class Fitted:
    """Fusion weights that were fitted to clips.

    Attributes:
        weights: One a member: the shares times the number of members, in the fusion ``sum`` divided
            by the temperature. Equal shares and a temperature of 1 are the plain sum.
        shares: Sum to 1.
        temperature: With it the fused probabilities have the least negative log likelihood.
        loss: Mean negative log likelihood of the fused probabilities, in nats.
        top1: Share of the clips that the fused prediction gets right.
    """

    weights: tuple[float, ...]
    shares: tuple[float, ...]
    temperature: float
    loss: float
    top1: float


def fit_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, method: str = 'sum', prior: float = 3.0
) -> Fitted:
    r"""Fusion weights and their temperature, on clips that no member was trained on.

    Members are differently sure of themselves, and in a sum of logits one that is wrong but certain
    outvotes the others. So for the fusion ``sum`` each member has a temperature :math:`T_i` of its
    own (:func:`fit_temperature` in the clips where it is present), in octaves. Shares :math:`s_i`
    of the members divided by it are tried on a coarse grid (each pair in ratios of 1/16 to 16, in
    octaves), and those are taken that have the least

    .. math:: \sum_n -\log p_n(y_n) - \frac{\lambda}{M} \sum_i \log (M s_i)
        + \tfrac{\lambda_T}{2} (\log T)^2

    where :math:`p` are the fused probabilities at the temperature :math:`T` of
    :func:`fit_temperature` with its prior :math:`\lambda_T`. The second term is a Dirichlet prior:
    with few clips the calibrated members stay near equal shares, and no member is left out. The
    likelihood is used because the accuracy of some dozens of clips hardly tells weights apart.

    Args:
        logits: Members, each (N, K), clips in the same order.
        label: (N,), the true classes.
        method: One of ``bharnet_mm.fusion.METHODS``.
        prior: :math:`\lambda`, in clips.

    Returns:
        Fitted: Weights (:math:`\propto s_i / T_i`), shares, temperature and what they reach on
        these clips.
    """
    count, octaves = len(logits), np.zeros(len(logits))
    if method == 'sum':  # the others have no scale
        for i, z in enumerate(logits):
            present = (z != 0).any(1)
            own = fit_temperature(log_softmax(z[present]), label[present])
            octaves[i] = round(math.log2(own))
    best = None
    for powers in itertools.product(range(-4, 5), repeat=count - 1):
        ratios = np.exp2([0.0, *powers])
        log_shares = np.log(count * ratios / ratios.sum())  # of the calibrated members
        shares = ratios / np.exp2(octaves)
        shares = shares / shares.sum()
        fused = fuse(logits, count * shares, method)
        temperature = fit_temperature(fused, label)
        fused = log_softmax(fused / temperature)
        loss = -float(fused[np.arange(len(label)), label].sum())
        penalised = loss - prior / count * float(log_shares.sum())
        penalised += TEMPERATURE_PRIOR / 2 * math.log(temperature) ** 2
        if best is None or penalised < best[0] - 1e-9:
            best = penalised, shares, temperature, loss, float((fused.argmax(1) == label).mean())
    _, shares, temperature, loss, top1 = best
    scale = count / (temperature if method == 'sum' else 1)  # only the sum has a scale
    return Fitted(
        tuple((scale * shares).tolist()),
        tuple(shares.tolist()),
        temperature,
        loss / max(len(label), 1),
        top1,
    )


def fit_temperature(
    log_probability: np.ndarray, label: np.ndarray, prior: float = TEMPERATURE_PRIOR
) -> float:
    r"""The temperature from .05 to 20 that suits the probabilities best (Guo et al., ICML 2017).

    It is the one with the least

    .. math:: \sum_n -\log p_n(y_n) + \tfrac{\lambda}{2} (\log T)^2

    The second term keeps it near 1 where there are few clips: without it some dozens of right
    answers would make every later answer certain. The derivative by :math:`-\log T` is bisected.

    Args:
        log_probability: (N, K).
        label: (N,), the true classes.
        prior: :math:`\lambda`, in clips.
    """
    rows = np.arange(len(label))

    def slope(power: float) -> float:  # of the loss, by the logarithm of 1 / T
        z = math.exp(power) * log_probability
        return float((np.exp(log_softmax(z)) * z).sum() - z[rows, label].sum()) + prior * power

    low, high = math.log(0.05), math.log(20)
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return math.exp(-(low + high) / 2)


def unsure_threshold(probability: np.ndarray, label: np.ndarray, kept: float = 0.9) -> float:
    """The largest probability of a clip below which a model shall be called unsure.

    Args:
        probability: (N, K), of clips that it was not trained on.
        label: (N,).
        kept: Share of the right answers that stay sure.
    """
    right = probability.argmax(1) == label
    return float(np.quantile(probability.max(1)[right], 1 - kept)) if right.any() else 0.0


def bootstrap_interval(
    correct: np.ndarray, level: float = 0.95, rounds: int = 10000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean over clips, or of a mean difference.

    Args:
        correct: (N,) bool, or the difference of two such as float.
        level: Coverage.
        rounds: Resamples of the clips.
        seed: Seed of the resampling.
    """
    generator = np.random.default_rng(seed)
    values = np.asarray(correct, dtype=np.float64)
    # Only the number of draws of each value matters. It is multinomial.
    distinct, counts = np.unique(values, return_counts=True)
    drawn = generator.multinomial(len(values), counts / len(values), size=rounds)
    means = drawn @ distinct / len(values)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> dict[str, float]:
    """Exact McNemar test of two entries on the same clips.

    Under the null hypothesis a clip that only one of the two gets right is equally likely to be of
    the one or the other. The binomial test is two-sided (McNemar, Psychometrika 1947).

    Returns:
        ``only_a``, ``only_b``: such clips; ``p_value``.
    """
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(k + 1))
    return {'only_a': only_a, 'only_b': only_b, 'p_value': min(1.0, float(2 * tail / 2**n))}
