"""Losses on the experts' logits."""

import torch.nn.functional as F
from torch import Tensor

from ..fusion import noisy_or_log_prob


def noisy_or_loss(logits: list[Tensor], present: list[Tensor], target: Tensor) -> Tensor:
    r"""Noisy-OR likelihood of the true class: :math:`-\log\big(1 - \prod_i (1 - p_{i,y})\big)`,
    mean over the batch.

    The gradient to one expert is scaled by the probability that the others do not give to the
    class. So an expert that is unreliable on a clip is not trained on it if another one already
    predicts the class. The loss of a clip without any expert is zero.
    """
    log_p = noisy_or_log_prob(logits, present)
    return -log_p.gather(1, target[:, None]).sum() / max(len(target), 1)


def expert_loss(
    logits: Tensor, present: Tensor, target: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Cross entropy over the clips in which the expert is present, divided by the size of the
    *whole* batch.

    So absent hands have no weight, and a batch that is spread over several processes gives the same
    loss.

    Shapes:
        logits ``(*, N, K)``, present ``(*, N)`` bool, target ``(N,)`` → ``(*)``: of several experts
        at once.
    """
    loss = F.cross_entropy(
        logits.float().flatten(0, -2),
        target.expand(present.shape).flatten(),
        reduction='none',
        label_smoothing=label_smoothing,
    )
    return (loss.view(present.shape) * present).sum(-1) / max(len(target), 1)
