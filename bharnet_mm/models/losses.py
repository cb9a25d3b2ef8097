"""Losses and fusion of several experts' logits."""

import torch
import torch.nn.functional as F
from torch import Tensor


def log_complement(logits: Tensor) -> Tensor:
    r"""``log(1 - softmax(z))`` in log space: :math:`\log\sum_{j \ne k} e^{z_j} - \log\sum_j
    e^{z_j}`.

    Exact where ``1 - p`` cancels to zero (a saturated expert), with a finite gradient.

    Shapes:
        ``(N, K)`` → ``(N, K)``, all entries ≤ 0. ``K`` ≥ 2.
    """
    # For all classes but the largest, 1 - p_k >= 1/2: log1p(-p) is exact. For the largest, sum the
    # others directly.
    log_p = F.log_softmax(logits.float(), dim=-1)
    top = log_p.argmax(-1, keepdim=True)
    is_top = torch.zeros_like(log_p, dtype=torch.bool).scatter(-1, top, True)
    rest = torch.logsumexp(log_p.masked_fill(is_top, float('-inf')), dim=-1, keepdim=True)
    # p is masked before log1p: a derivative of 1/(1-1) that `where` would multiply by zero is NaN.
    others = torch.log1p(-log_p.masked_fill(is_top, float('-inf')).exp())
    return torch.where(is_top, rest, others)


def noisy_or_log_prob(logits: list[Tensor], present: list[Tensor]) -> Tensor:
    r"""Log-probability that at least one expert supports a class (Noisy-OR).

    .. math:: p_k = 1 - \prod_i (1 - \mathrm{softmax}(z_i)_k)

    Args:
        logits (list[Tensor]): ``(N, K)`` each.
        present (list[Tensor]): ``(N,)`` bool each; an absent expert supports nothing.

    Returns:
        Tensor: ``(N, K)``, not normalised over the classes. 0 (no support denied) where no expert
        is present.
    """
    absent = sum(
        log_complement(z).masked_fill(~seen[:, None], 0.0)
        for z, seen in zip(logits, present, strict=True)
    )
    some = torch.stack(present).any(0)[:, None]
    # log(1 - e^a) for a <= 0 in three ranges, each branch fed only arguments at which its
    # derivative is finite: log1p far from zero, expm1 near it, and where the probabilities
    # themselves underflow, 1 - prod(1 - p) = sum(p) to rounding.
    far, tiny = absent < -0.693, absent > -1e-20
    log_p = torch.stack(
        [
            F.log_softmax(z.float(), -1).masked_fill(~seen[:, None], -1e30)
            for z, seen in zip(logits, present, strict=True)
        ]
    )
    result = torch.where(
        far,
        torch.log1p(-torch.exp(absent.masked_fill(~far, -1.0))),
        torch.log(-torch.expm1(absent.masked_fill(far | tiny, -0.5))),
    )
    result = torch.where(tiny, torch.logsumexp(log_p, 0), result)
    return result.masked_fill(~some, 0.0)


def noisy_or_loss(logits: list[Tensor], present: list[Tensor], target: Tensor) -> Tensor:
    r"""Noisy-OR likelihood of the true class: :math:`-\log\big(1 - \prod_i (1 - p_{i,y})\big)`,
    mean over the batch.

    The gradient to one expert is scaled by how far the others leave the class unexplained, so a
    stream that is unreliable on a clip is not pushed when another already explains it. A clip
    without any expert counts zero.
    """
    log_p = noisy_or_log_prob(logits, present)
    return -log_p.gather(1, target[:, None]).sum() / max(len(target), 1)


def expert_loss(
    logits: Tensor, present: Tensor, target: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Cross entropy over the clips in which the expert has something to see, divided by the size of
    the *whole* batch.

    So an absent hand weighs nothing, and a batch spread over several processes gives the loss of
    the whole.

    Shapes:
        logits ``(*, N, K)``, present ``(*, N)`` bool, target ``(N,)`` → ``(*)``: of several experts at once.
    """
    loss = F.cross_entropy(
        logits.float().flatten(0, -2),
        target.expand(present.shape).flatten(),
        reduction='none',
        label_smoothing=label_smoothing,
    )
    return (loss.view(present.shape) * present).sum(-1) / max(len(target), 1)
