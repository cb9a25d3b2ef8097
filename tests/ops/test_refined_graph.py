"""The chunked graph convolution."""

import contextlib

import numpy as np
import pytest
import torch

from bharnet_mm.layouts import get_layout
from bharnet_mm.models.degcn import graph
from bharnet_mm.ops import plain_form, refined_graph


@pytest.mark.parametrize('size', [1, 2, 5])
def test_chunks_change_neither_output_nor_gradient(monkeypatch, size):
    """One instance at a time, all at once, and the equation written out."""
    torch.manual_seed(0)
    module = graph.CTRGraphConv(16, 32, get_layout('hand').adjacency()).double()
    with torch.no_grad():
        module.alpha.fill_(0.7)
        for bias in (module.refine_bias, module.value.bias, module.query.bias, module.key.bias):
            bias.normal_()
    module.train()
    x = torch.randn(size, 16, 21, 6, dtype=torch.double)
    results = []
    for plain, limit in ((False, 1), (False, 2**30), (True, 1)):
        monkeypatch.setattr(refined_graph, 'CHUNK_BYTES', limit)
        module.zero_grad()
        leaf = x.clone().requires_grad_()
        with plain_form() if plain else contextlib.nullcontext():
            y = module(leaf)
        y.pow(3).sum().backward()
        results.append([y, leaf.grad, *(p.grad for p in module.parameters())])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_bfloat16_gradients_follow_float32():
    torch.manual_seed(0)
    module = graph.CTRGraphConv(16, 16, get_layout('hand').adjacency())
    with torch.no_grad():
        module.alpha.fill_(0.5)
    x = torch.randn(8, 16, 21, 12)
    grads = []
    for enabled in (False, True):
        module.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            y = module(x)
        (y.float() * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
        grads.append(
            torch.cat([p.grad.flatten() for p in (module.refine_weight, module.adjacency)])
        )
    assert torch.nn.functional.cosine_similarity(*grads, dim=0) > 0.999


def a_graph_conv(channels, out, joints, groups=4, dtype=torch.float32):
    torch.manual_seed(0)
    adjacency = np.random.default_rng(0).normal(size=(3, joints, joints))
    module = graph.CTRGraphConv(channels, out, adjacency, groups).to(dtype)
    with torch.no_grad():
        module.alpha.fill_(0.7)
        for bias in (module.refine_bias, module.value.bias, module.query.bias, module.key.bias):
            bias.normal_()
    return module


def with_gradients(module, x, grad):
    module.zero_grad()
    leaf = x.clone().requires_grad_()
    y = module.aggregate(leaf)
    y.backward(grad)
    gradients = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    return dict(y=y.detach(), x=leaf.grad) | gradients


def largest_error(ours, theirs):
    assert ours.keys() == theirs.keys() and len(ours) == 12
    scales = {name: t.abs().max().clamp(min=1e-3) for name, t in theirs.items()}
    return max(((ours[n].double() - t).abs().max() / scales[n]).item() for n, t in theirs.items())


@pytest.mark.parametrize(
    'size, channels, out, joints, frames, groups',
    [
        (3, 16, 32, 13, 16, 4),
        (1, 32, 32, 20, 7, 4),  # half a vector of channels, frames no multiple of four
        (2, 64, 64, 21, 18, 4),
        (2, 64, 128, 25, 64, 4),
        (2, 40, 24, 7, 1, 1),  # a vector and a half of channels
        (3, 20, 72, 1, 3, 2),
    ],
)
def test_native_equals_torch_in_float64(
    monkeypatch, native_kernels, size, channels, out, joints, frames, groups
):
    module = a_graph_conv(channels, out, joints, groups)
    exact = a_graph_conv(channels, out, joints, groups, torch.float64)
    exact.load_state_dict(module.state_dict())
    x = torch.randn(size, channels, joints, frames)
    grad = torch.randn(size, joints, frames, out).permute(0, 3, 1, 2)  # not contiguous
    called = []
    kernels = refined_graph.native.kernels
    monkeypatch.setattr(
        refined_graph.native, 'kernels', lambda *a: called.append(a[0]) or kernels(*a)
    )
    ours = with_gradients(module, x, grad)
    assert called == ['refined_graph'] * 2  # forward and backward
    assert largest_error(ours, with_gradients(exact, x.double(), grad.double())) < 2e-5
    # each instance by itself
    for i in range(size):
        alone = module.aggregate(x[i : i + 1]).detach()
        torch.testing.assert_close(alone[0], ours['y'][i], rtol=1e-6, atol=1e-6)


def test_native_adds_to_what_is_there(monkeypatch, native_kernels):
    module, x = a_graph_conv(16, 32, 9), torch.randn(2, 16, 9, 6)
    with torch.no_grad():
        parameters = module.operands()
        query, key = (refined_graph.relate(x.mean(-1), *parameters[i : i + 2]) for i in (0, 2))
        operands = (*refined_graph.joined(*parameters[4:9]), query, key, parameters[9])
        start = torch.randn(2, 32, 9, 6)
        ours = refined_graph.aggregate_(start.clone(), x, *operands)
        monkeypatch.setenv('BHARNET_NATIVE', '0')
        theirs = refined_graph.aggregate_(start.clone(), x, *operands)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_native_saturates_and_keeps_nan(native_kernels):
    """Queries far apart, near, equal and not a number."""
    module, x = a_graph_conv(16, 16, 6), torch.randn(6, 16, 6, 4)
    exact = a_graph_conv(16, 16, 6, dtype=torch.float64)
    exact.load_state_dict(module.state_dict())
    x *= torch.tensor([0, 1e-4, 1e-2, 1, 10, 1000]).view(-1, 1, 1, 1)
    y, expected = module.aggregate(x), exact.aggregate(x.double())
    for one, other in zip(y, expected, strict=True):
        torch.testing.assert_close(
            one, other.float(), rtol=1e-4, atol=1e-4 * float(other.abs().max())
        )
    x[2, 0, 0, 0] = float('nan')
    assert module.aggregate(x).isnan().flatten(1).any(1).tolist() == [i == 2 for i in range(6)]


def test_native_in_bfloat16_is_closer_than_torch(monkeypatch, native_kernels):
    module, x, grad = (
        a_graph_conv(32, 32, 21),
        torch.randn(4, 32, 21, 10),
        torch.randn(4, 32, 21, 10),
    )
    exact = a_graph_conv(32, 32, 21, dtype=torch.float64)
    exact.load_state_dict(module.state_dict())
    expected = with_gradients(exact, x.double(), grad.double())
    errors = []
    for switch in '10':
        monkeypatch.setenv('BHARNET_NATIVE', switch)
        with torch.autocast('cpu', torch.bfloat16):
            ours = with_gradients(module, x, grad.bfloat16())
        assert ours['y'].dtype == torch.bfloat16
        errors.append(largest_error(ours, expected))
    assert errors[0] < min(0.05, 1.2 * errors[1])


def test_native_of_no_instance(native_kernels):
    module = a_graph_conv(16, 32, 9)
    results = with_gradients(module, torch.zeros(0, 16, 9, 6), torch.zeros(0, 32, 9, 6))
    assert results['y'].shape == (0, 32, 9, 6)
    assert all(not results[name].any() for name in results)


def test_operands_that_do_not_fit_are_torchs_error():
    module = a_graph_conv(16, 32, 9)
    with pytest.raises(RuntimeError):
        module.aggregate(torch.zeros(2, 16, 8, 6))
