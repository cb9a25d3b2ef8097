"""Batch norm written out against torch's own."""

import pytest
import torch
from torch import nn

from bharnet_mm.ops import native
from bharnet_mm.ops.norm_act import folded, norm_act


@pytest.mark.parametrize('mean', [0.0, 1000.0])
@pytest.mark.parametrize('shape', [(5, 8, 7, 6), (6, 8, 9)])
def test_training_equals_torch_with_gradients_and_statistics(shape, mean):
    torch.manual_seed(0)
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    ours, theirs = kind(8).double(), kind(8).double()
    for norm in (ours, theirs):
        torch.manual_seed(1)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = torch.randn(shape, dtype=torch.double) * 2 + mean
    residual = torch.randn_like(x)
    results = []
    for norm, function in (
        (ours, norm_act),
        (theirs, lambda n, a, r: nn.functional.leaky_relu(n(a) + r, 0.1)),
    ):
        a, r = x.clone().requires_grad_(), residual.clone().requires_grad_()
        y = function(norm, a, r)
        (y * torch.arange(y.numel(), dtype=y.dtype).view(shape).cos()).sum().backward()
        results.append((y, a.grad, r.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_a_large_mean_costs_no_precision():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    x = torch.randn(64, 4, 5, 5)
    near, far = norm_act(norm, x, act=False), norm_act(norm, x + 1000, act=False)
    assert (near - far).abs().max() < 1e-3  # x + 1000 itself is rounded to 6e-5


def test_a_single_value_a_channel_is_torchs_error():
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        norm_act(nn.BatchNorm2d(4), torch.randn(1, 4, 1, 1))


def test_folded_is_the_running_form():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8).eval()
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.normal_()
    norm.running_var.uniform_(0.5, 2)
    x = torch.randn(3, 8, 4, 5)
    scale, shift = folded(norm)
    torch.testing.assert_close(
        x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1), norm(x), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize('act', [True, False])
@pytest.mark.parametrize('adds', [True, False])
@pytest.mark.parametrize('shape', [(5, 8, 7, 6), (6, 8, 9), (1, 8, 20, 16), (3, 8, 25, 64), (9, 8)])
def test_native_equals_torch_in_float64(native_kernels, shape, adds, act):
    torch.manual_seed(0)
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    ours = kind(8)
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    theirs = kind(8).double()
    theirs.load_state_dict(ours.state_dict())
    x, residual = torch.randn(shape) * 2 + 3, torch.randn(shape) if adds else None
    grad = torch.randn(*shape[2:], *shape[:2]).permute(-2, -1, *range(len(shape) - 2))
    assert native.kernels('norm', x) is not None
    results = []
    for norm, dtype in ((ours, torch.float32), (theirs, torch.float64)):
        a = x.clone().to(dtype).requires_grad_()
        r = None if residual is None else residual.clone().to(dtype).requires_grad_()
        y = norm_act(norm, a, r, act)
        y.backward(grad.to(dtype))
        gradients = [t.grad for t in (a, r, norm.weight, norm.bias) if t is not None]
        results.append([y, *gradients, *norm.buffers()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other.to(one.dtype), rtol=2e-5, atol=2e-5)


def test_native_in_bfloat16_rounds_the_exact_result(native_kernels):
    torch.manual_seed(0)
    norm, x = nn.BatchNorm2d(8), torch.randn(4, 8, 21, 7).bfloat16()
    a, b = x.clone().requires_grad_(), x.float().requires_grad_()
    grad = torch.randn(x.shape).bfloat16()
    y, expected = norm_act(norm, a), norm_act(norm, b)
    torch.testing.assert_close(y, expected.bfloat16(), rtol=0, atol=0)
    y.backward(grad)
    expected.backward(grad.float())
    torch.testing.assert_close(a.grad, b.grad.bfloat16(), rtol=0, atol=0)
    x[0, 0, 0, 0] = float('nan')
    assert norm_act(norm, x).isnan().any((0, 2, 3)).tolist() == [True] + [False] * 7
