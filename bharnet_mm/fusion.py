"""Fusion of the predictions of several experts, in the head and for score files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ConfigError

METHODS = ('sum', 'mean_prob', 'noisy_or')


def fuse(
    logits: Sequence[Tensor],
    present: Sequence[Tensor],
    weights: Sequence[float] | Tensor | None = None,
    method: str = 'sum',
) -> Tensor:
    r"""Log probabilities of the fused experts.

    With :math:`p_i = \mathrm{softmax}(z_i)`, weights :math:`w_i` and :math:`i` over the experts
    that are present in the clip, normalised over the classes:

    - ``sum``: :math:`\sum_i w_i z_i`, which orders the classes as :math:`\prod_i p_i^{w_i}` does.
    - ``mean_prob``: :math:`\log \sum_i w_i p_i`.
    - ``noisy_or``: :math:`\log\big(1 - \prod_i (1 - p_i)^{w_i}\big)`: one confident expert is
      enough.

    An absent expert has no influence. If no expert is present, all classes are equally likely.

    Args:
        logits: ``(N, K)`` each.
        present: ``(N,)`` bool each: the clips in which the expert sees something.
        weights: One for each expert, not negative; by default 1 each. A tensor of weights is not
            looked at, so that it may be part of a traced graph.
        method: One of :data:`METHODS`.

    Returns:
        ``(N, K)``, float32 or the logits' own precision if that is higher.

    Raises:
        ConfigError: For an unknown method, and for weights that do not fit.
    """
    if method not in METHODS:
        raise ConfigError('fusion', repr(method), f'one of {METHODS}', 'correct the name')
    if not isinstance(weights, Tensor):
        weights = [1.0] * len(logits) if weights is None else [float(w) for w in weights]
        if len(weights) != len(logits) or min(weights, default=0) < 0 or sum(weights) <= 0:
            raise ConfigError(
                'fusion weights',
                f'{weights} for {len(logits)} members',
                'one for each, not negative and not all 0',
                'correct the weights',
            )
    if method == 'noisy_or':
        return noisy_or_log_prob(logits, present, weights).log_softmax(-1)
    # If the expert is absent, its term is zero (in `sum`) or left out (in `mean_prob`).
    terms = [
        _precise(z).masked_fill(~mask[:, None], 0) for z, mask in zip(logits, present, strict=True)
    ]
    if method == 'sum':
        return sum(w * z for w, z in zip(weights, terms, strict=True)).log_softmax(-1)
    shares = [
        z.log_softmax(-1).masked_fill(~mask[:, None], float('-inf')) + _log(w)
        for w, z, mask in zip(weights, terms, present, strict=True)
    ]
    total = torch.logsumexp(torch.stack(shares), 0)
    heard = total.isfinite().any(-1, keepdim=True)
    return torch.where(heard, total, torch.zeros_like(total)).log_softmax(-1)


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _log(weight: float | Tensor) -> float | Tensor:
    if isinstance(weight, Tensor):
        return weight.log()
    return math.log(weight) if weight else -math.inf


def log_complement(logits: Tensor) -> Tensor:
    r"""``log(1 - softmax(z))`` in log space: :math:`\log\sum_{j \ne k} e^{z_j} - \log\sum_j
    e^{z_j}`.

    It is exact and has a finite gradient even if ``1 - p`` is rounded to zero (a saturated expert).

    Shapes:
        ``(N, K)`` → ``(N, K)``, all entries ≤ 0. ``K`` ≥ 2.
    """
    # For all classes but the largest, 1 - p_k >= 1/2: log1p(-p) is exact. For the largest, sum the
    # others directly.
    log_p = F.log_softmax(_precise(logits), dim=-1)
    top = log_p.argmax(-1, keepdim=True)
    is_top = torch.zeros_like(log_p, dtype=torch.bool).scatter(-1, top, True)
    rest = torch.logsumexp(log_p.masked_fill(is_top, float('-inf')), dim=-1, keepdim=True)
    # p is masked before log1p, because `where` multiplies the derivative 1/(1-1) by zero, which is
    # NaN.
    others = torch.log1p(-log_p.masked_fill(is_top, float('-inf')).exp())
    return torch.where(is_top, rest, others)


def noisy_or_log_prob(
    logits: Sequence[Tensor], present: Sequence[Tensor], weights: Sequence[float] | None = None
) -> Tensor:
    r"""Log probability that at least one expert supports a class (Noisy-OR).

    .. math:: p_k = 1 - \prod_i (1 - \mathrm{softmax}(z_i)_k)^{w_i}

    Args:
        logits: ``(N, K)`` each.
        present: ``(N,)`` bool each; an absent expert supports nothing.
        weights: One for each expert; by default 1 each. An expert of weight 0 supports nothing.

    Returns:
        Tensor: ``(N, K)``, not normalised over the classes. 0 if no expert is present.
    """
    weights = [1.0] * len(logits) if weights is None else weights
    members = [m for m in zip(logits, present, weights, strict=True) if m[2] > 0]
    absent = sum(w * log_complement(z).masked_fill(~mask[:, None], 0.0) for z, mask, w in members)
    some = torch.stack([mask for _, mask, _ in members]).any(0)[:, None]
    # log(1 - e^a) for a <= 0 in three ranges, each branch fed only arguments at which its
    # derivative is finite: log1p far from zero, expm1 near it, and where the probabilities
    # themselves underflow, 1 - prod(1 - p)^w = sum(w p) to rounding.
    far, tiny = absent < -0.693, absent > -1e-20
    log_p = torch.stack(
        [
            (F.log_softmax(_precise(z), -1) + _log(w)).masked_fill(~mask[:, None], -1e30)
            for z, mask, w in members
        ]
    )
    result = torch.where(
        far,
        torch.log1p(-torch.exp(absent.masked_fill(~far, -1.0))),
        torch.log(-torch.expm1(absent.masked_fill(far | tiny, -0.5))),
    )
    result = torch.where(tiny, torch.logsumexp(log_p, 0), result)
    return result.masked_fill(~some, 0.0)
