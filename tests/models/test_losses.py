import math

import pytest
import torch

from bharnet_mm.fusion import log_complement, noisy_or_log_prob
from bharnet_mm.models.losses import expert_loss, noisy_or_loss


def direct(logits, present, target):
    """The formula as printed, in float64."""
    denied = 1.0
    for z, seen in zip(logits, present, strict=True):
        p = z.double().softmax(-1).gather(1, target[:, None])[:, 0]
        denied = denied * torch.where(seen, 1 - p, torch.ones_like(p))
    return -(1 - denied).log().mean()


def test_noisy_or_equals_direct_form_with_gradients():
    torch.manual_seed(0)
    for scale in (0.1, 1.0, 8.0):
        logits = [torch.randn(16, 7) * scale for _ in range(3)]
        present = [torch.ones(16, dtype=torch.bool), torch.rand(16) > 0.3, torch.rand(16) > 0.5]
        target = torch.randint(0, 7, (16,))
        for z in logits:
            z.requires_grad_()
        loss, expected = noisy_or_loss(logits, present, target), direct(logits, present, target)
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
        for a, b in zip(
            torch.autograd.grad(loss, logits), torch.autograd.grad(expected, logits), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('gap', [30.0, 100.0, 1e4])
def test_noisy_or_is_finite_where_experts_are_saturated(gap):
    right = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)
    wrong = torch.tensor([[-gap, 0.0, 0.0]], requires_grad=True)
    seen, target = torch.tensor([True]), torch.tensor([0])
    for pair in ((right, right), (right, wrong), (wrong, wrong)):
        loss = noisy_or_loss(list(pair), [seen, seen], target)
        grads = torch.autograd.grad(loss, set(pair))
        assert torch.isfinite(loss) and all(torch.isfinite(g).all() for g in grads)
    # Two experts that are both wrong beyond float32's range still give the right loss and a
    # gradient to learn from.
    loss = noisy_or_loss([wrong, wrong], [seen, seen], target)
    assert math.isclose(loss.item(), gap + math.log(2) - math.log(2), rel_tol=1e-4, abs_tol=1e-3)
    assert torch.autograd.grad(loss, wrong)[0][0, 0] < -0.5


def test_a_confident_expert_shields_the_other():
    sure = torch.tensor([[20.0, 0.0]])
    unsure = torch.tensor([[0.0, 0.0]], requires_grad=True)
    seen, target = torch.tensor([True]), torch.tensor([0])
    with_help = torch.autograd.grad(noisy_or_loss([sure, unsure], [seen, seen], target), unsure)[0]
    alone = torch.autograd.grad(noisy_or_loss([unsure], [seen], target), unsure)[0]
    assert with_help.abs().max() < 1e-6 < 0.1 < alone.abs().max()


def test_absent_experts_have_no_say():
    z, other = torch.randn(2, 4), torch.randn(2, 4)
    seen, absent = torch.tensor([True, False]), torch.tensor([False, False])
    log_p = noisy_or_log_prob([z, other], [seen, absent])
    torch.testing.assert_close(log_p[0], z[0].log_softmax(-1))
    assert not log_p[1].any()
    assert noisy_or_loss([z, other], [absent, absent], torch.tensor([0, 1])).item() == 0


def test_log_complement():
    z = torch.tensor([[200.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    expected = (1 - z[1].double().softmax(-1)).log().float()
    torch.testing.assert_close(log_complement(z)[1], expected)
    assert math.isclose(log_complement(z)[0, 0].item(), math.log(2) - 200, rel_tol=1e-6)


def test_expert_loss_counts_absent_clips_as_zero_of_the_whole_batch():
    z, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    present = torch.tensor([True, False, True, False])
    expected = (
        torch.nn.functional.cross_entropy(z[present], target[present], label_smoothing=0.1) / 2
    )
    torch.testing.assert_close(expert_loss(z, present, target, 0.1), expected)
