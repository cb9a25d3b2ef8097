import functools

import pytest
import torch

from bharnet_mm.models.degcn.temporal import (
    DeformableTemporalConv,
    MaxOfThree,
    MultiBranchTemporal,
    refresh_taps,
)

OFFSETS = {
    'initial': [-2.0, -2 / 3, 2 / 3, 2.0],
    'whole numbers': [-4.0, -1.0, 0.0, 3.0],
    'fractions': [-3.7, -0.2, 1.4, 5.9],
    'all ahead': [1.2, 2.0, 2.7, 3.1],
    'all behind': [-5.5, -4.0, -3.3, -2.1],
    'past the ends': [-20.3, -8.0, 8.0, 21.6],
    'only past the end': [15.0, 18.5, 30.0, 41.3],
    'only before the start': [-41.3, -30.0, -18.5, -15.0],
}


def loop(x, weight, offset, stride):
    """The definition, frame by frame."""
    frames = x.size(-1)
    out = []
    for t in range(0, frames, stride):
        y = 0
        for r in range(len(offset)):
            position = t + offset[r]
            low = int(torch.floor(position.detach()))
            share = position - low
            a, b = (x[..., min(max(i, 0), frames - 1)] for i in (low, low + 1))
            y = y + torch.einsum('oc,pcv->pov', weight[..., r], a * (1 - share) + b * share)
        out.append(y)
    return torch.stack(out, -1)


def run(function, x, conv):
    x = x.clone().requires_grad_()
    y = function(x)
    probe = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    grads = torch.autograd.grad((y * probe).sum(), (x, conv.weight, conv.offset))
    return (y.detach(), *grads)


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('frames', [1, 7, 16])
@pytest.mark.parametrize('case', OFFSETS)
def test_composed_equals_gather_and_definition(case, frames, stride):
    torch.manual_seed(0)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        conv = DeformableTemporalConv(8, 2.0, stride=stride).to(dtype)
        conv.offset.data = torch.tensor(OFFSETS[case], dtype=dtype)
        x = torch.randn(3, 8, 5, frames, dtype=dtype)
        composed, gather = run(conv, x, conv), run(conv.plain_forward, x, conv)
        for name, a, b in zip(('output', 'x', 'weight', 'offset'), composed, gather, strict=True):
            scale = b.abs().max().clamp(min=1e-30)
            # Past one end every sample is the same frame, so the gradient to the offsets is zero
            # but for rounding.
            scale = scale if name != 'offset' else scale.clamp(min=gather[2].abs().max())
            assert (a - b).abs().max() / scale < tolerance, name
        if dtype == torch.float64:
            definition = functools.partial(
                loop, weight=conv.weight, offset=conv.offset, stride=stride
            )
            expected = run(definition, x, conv)
            for a, b in zip(composed, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_kernel_follows_the_offsets_through_training_and_loading():
    conv = DeformableTemporalConv(4, 2.0)
    assert conv.taps() == (-2, 3)
    optimizer = torch.optim.SGD(conv.parameters(), lr=1.0)
    conv.offset.grad = torch.tensor([2.5, 0.0, 0.0, -1.0])
    conv.weight.grad = torch.zeros_like(conv.weight)
    optimizer.step()
    assert conv.taps() == (-5, 4)
    other = DeformableTemporalConv(4, 4.0)
    assert other.taps() == (-4, 5)
    other.load_state_dict(conv.state_dict())
    assert other.taps() == (-5, 4)
    refresh_taps([conv, other])
    x = torch.randn(2, 4, 3, 12)
    torch.testing.assert_close(conv(x), other(x))


def test_a_half_offset_is_the_mean_of_two_frames():
    conv = DeformableTemporalConv(1, 2.0, num_samples=1)
    conv.offset.data = torch.tensor([0.5])
    conv.weight.data = torch.ones(1, 1, 1)
    x = torch.tensor([1.0, 3.0, 9.0]).view(1, 1, 1, 3)
    torch.testing.assert_close(conv(x).flatten(), torch.tensor([2.0, 6.0, 9.0]))


@pytest.mark.parametrize('stride', [1, 2])
def test_module_branches(stride):
    """Every quarter of the output comes from its own branch, computed here one by one."""
    torch.manual_seed(0)
    module = MultiBranchTemporal(16, stride).eval()
    for norm in (module.reduce_norm, module.norm):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 16, 3, 9)
    reduced = torch.einsum('oc,pcvt->povt', module.reduce.weight[0], x)
    hidden = torch.nn.functional.leaky_relu(module.reduce_norm(reduced[:, :12]), 0.1)
    padded = torch.nn.functional.pad(hidden[:, 8:], (1, 1), value=float('-inf'))
    branches = torch.cat(
        (
            module.near.plain_forward(hidden[:, :4]),
            module.far.plain_forward(hidden[:, 4:8]),
            padded.unfold(-1, 3, stride).amax(-1),
            reduced[:, 12:, :, ::stride],
        ),
        1,
    )
    torch.testing.assert_close(module(x), module.norm(branches))


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('frames', [1, 2, 3, 7, 8])
def test_max_of_three_is_max_pooling_with_its_gradient(stride, frames):
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5, frames, dtype=torch.double)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = MaxOfThree.apply(mine, stride)
    expected = torch.nn.functional.max_pool2d(theirs, (1, 3), (1, stride), (0, 1))
    assert torch.equal(y, expected)
    for z in (y, expected):
        (z * torch.arange(z.numel(), dtype=z.dtype).view(z.shape).cos()).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_max_of_three_passes_each_gradient_on_once_at_ties():
    x = torch.ones(1, 1, 1, 6, requires_grad=True)
    MaxOfThree.apply(x, 1).sum().backward()
    assert x.grad.sum() == 6
