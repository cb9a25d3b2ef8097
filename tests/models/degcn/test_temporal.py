import functools

import pytest
import torch

from bharnet_mm.errors import ConfigError
from bharnet_mm.models.degcn.temporal import DeformableTemporalConv, MultiBranchTemporal
from bharnet_mm.ops.temporal import Composed, max_of_three, max_of_three_backward

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


def composed(x, conv):
    """Output and gradients by the composed kernel."""
    kernel = Composed(conv.weight.detach(), conv.offset.detach(), x.size(-1), conv.stride)
    y = kernel.forward(x)
    probe = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    return y, *kernel.backward(probe, x)


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
        ours, gather = composed(x, conv), run(conv, x, conv)
        for name, a, b in zip(('output', 'x', 'weight', 'offset'), ours, gather, strict=True):
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
            for a, b in zip(ours, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('offset', [1e5, -1e5, 1e30, -1e30])
def test_an_offset_is_bounded_to_the_clip(offset):
    """It reads the first or last frame at once, has no gradient, and no kernel grows with it."""
    module = MultiBranchTemporal(16).double()
    near = dict(offset=torch.tensor([-1.0, 0.5, 2.0, offset]), weight=module.near.weight.detach())
    module.near.load_state_dict(near)
    x = torch.randn(2, 16, 3, 9, dtype=torch.double, requires_grad=True)
    y = module(x)
    y.pow(2).sum().backward()
    assert module.near.offset.grad[3] == 0 and module.near.offset.grad[:3].all()
    nearer = 9 if offset > 0 else -9
    module.near.load_state_dict(near | dict(offset=torch.tensor([-1.0, 0.5, 2.0, nearer])))
    assert torch.equal(module(x), y)
    assert (
        Composed(module.near.weight, torch.full((4,), offset).double(), 9, 1).kernel.size(-1) == 2
    )


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_offsets_that_are_not_finite(value):
    """A checkpoint with one is refused; in training the output is not finite, so that guards see
    it.
    """
    module = MultiBranchTemporal(16)
    state = module.state_dict() | {'far.offset': torch.tensor([0.0, 1.0, value, 2.0])}
    with pytest.raises(ConfigError, match='far.offset.*\n*.*finite numbers'):
        module.load_state_dict(state)
    with torch.no_grad():
        module.far.offset[2] = value
    if value != value:
        assert module(torch.randn(2, 16, 3, 9))[:, 4:8].isnan().all()


def test_a_learning_rate_far_too_large_does_not_hang():
    module = MultiBranchTemporal(16)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e6)
    for _ in range(3):
        loss = module(torch.randn(2, 16, 3, 9)).pow(3).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


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
            module.near(hidden[:, :4]),
            module.far(hidden[:, 4:8]),
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
    x = torch.randn(3, 4, 5, frames, dtype=torch.double, requires_grad=True)
    expected = torch.nn.functional.max_pool2d(x, (1, 3), (1, stride), (0, 1))
    y = max_of_three(x.detach(), stride)
    assert torch.equal(y, expected)
    grad = torch.arange(y.numel(), dtype=y.dtype).view(y.shape).cos()
    expected.backward(grad)
    torch.testing.assert_close(max_of_three_backward(grad, x.detach(), y, stride), x.grad)


def test_max_of_three_passes_each_gradient_on_once_at_ties():
    x = torch.ones(1, 1, 1, 6)
    assert max_of_three_backward(torch.ones_like(x), x, max_of_three(x, 1), 1).sum() == 6
