"""Inference with everything folded against the unfolded network in eval mode."""

import copy

import pytest
import torch

from bharnet_mm.models import DeGCN


def trained(dtype=torch.double, **options) -> DeGCN:
    """A network whose every parameter and statistic is away from its start."""
    torch.manual_seed(0)
    model = DeGCN('hand', base_channels=16, **options).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    model.train()
    for _ in range(3):
        model(torch.randn(2, 2, 16, 21, 3, dtype=dtype))
    return model.eval()


def outputs(model, x):
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize('options', [{}, dict(num_stream=2, split_at=3), dict(num_blocks=2)])
def test_folded_equals_eval_mode(options):
    model = trained(**options)
    x = torch.randn(3, 2, 16, 21, 3, dtype=torch.double)
    unfolded = model(x)  # gradients are recorded, so nothing is folded
    assert unfolded.requires_grad
    torch.testing.assert_close(outputs(model, x), unfolded.detach(), rtol=1e-9, atol=1e-9)


def test_no_input_is_written_to():
    model, x = trained(), torch.randn(2, 2, 16, 21, 3, dtype=torch.double)
    before = x.clone()
    outputs(model, x)
    assert torch.equal(x, before)


@pytest.mark.parametrize('change', ['step', 'load', 'data', 'double', 'statistics'])
def test_a_change_of_the_parameters_is_seen(change):
    model = trained(torch.float32)
    x = torch.randn(2, 2, 16, 21, 3)
    before = outputs(model, x)
    if change == 'step':
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        model(x).pow(2).mean().backward()
        optimizer.step()
    elif change == 'load':
        state = {k: v + 0.01 if v.is_floating_point() else v for k, v in model.state_dict().items()}
        model.load_state_dict(state)
    elif change == 'data':  # as EMA does between training and validation
        for p in model.parameters():
            p.data.add_(0.01)
        model.eval()
    elif change == 'double':
        model, x = model.double(), x.double()
    elif change == 'statistics':
        for name, buffer in model.named_buffers():
            if name.endswith('running_mean'):
                buffer.add_(0.1)
    after = outputs(model, x)
    expected = model(x).detach()
    assert (after - expected).norm() < 1e-5 * expected.norm()
    if change != 'double':
        assert (after - before).abs().max() > 1e-3


def test_a_copy_folds_its_own_parameters():
    model = trained(torch.float32)
    x = torch.randn(2, 2, 16, 21, 3)
    before = outputs(model, x)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(0.9)
    assert torch.equal(outputs(model, x), before)
    assert not torch.equal(outputs(other, x), before)
    torch.testing.assert_close(outputs(other, x), other(x).detach(), rtol=1e-4, atol=1e-4)


def test_autocast_gets_its_own_fold():
    model, x = trained(torch.float32), torch.randn(2, 2, 16, 21, 3)
    exact = outputs(model, x)
    with torch.autocast('cpu', torch.bfloat16):
        narrow = outputs(model, x)
    assert not torch.equal(narrow.float(), exact)
    assert (narrow.float() - exact).norm() < 0.03 * exact.norm()
    assert torch.equal(outputs(model, x), exact)
