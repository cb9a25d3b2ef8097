"""Every operator against its reference: values, gradients, padding, mixed precision."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from bharnet_mm.ops import graph, norm_act, plain_form, pointwise, pooling, refined_graph, temporal


@dataclass
class Case:
    """An operator with arguments; those of ``rest`` the reference does not take."""

    module: object
    arguments: dict
    skipped: tuple[str, ...] = ()
    options: dict = field(default_factory=dict)

    def run(self, reference: bool, **changed):
        """First output."""
        arguments = self.arguments | changed
        if reference:
            arguments = {k: v for k, v in arguments.items() if k not in self.skipped}
            y = self.module.reference(*arguments.values())
        else:
            y = self.module.OPERATOR(*arguments.values())
        return y[0] if isinstance(y, tuple) else y

    def leaves(self) -> dict[str, Tensor]:
        """Arguments that need a gradient."""
        return {k: v for k, v in self.arguments.items() if is_leaf(v)}


def is_leaf(value) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def make(name: str, dtype=torch.float64, size: int = 3) -> Case:
    g = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype).requires_grad_()

    kind, _, option = name.partition(' ')
    if kind == 'pointwise':
        groups, stride = (1, 2) if option == 'strided' else (2, 1)
        bias = None if option == 'strided' else leaf(6)
        weight = leaf(groups, 6 // groups, 4 // groups)
        return Case(pointwise, dict(x=leaf(size, 4, 3, 5), w=weight, b=bias, stride=stride))
    if kind == 'graph':
        operands = dict(w=leaf(1, 8, 3), b=leaf(8), a=leaf(2, 4, 4))
        return Case(graph, dict(x=leaf(size, 3, 4, 5)) | operands)
    if kind == 'refined':
        groups, channels, out, subsets, depth, joints = (2, 4, 6, 3, 2, 4)
        rows = subsets * depth
        parameters = dict(
            qw=leaf(groups, rows, channels // groups),
            qb=leaf(groups * rows),
            kw=leaf(groups, rows, channels // groups),
            kb=leaf(groups * rows),
            vw=leaf(groups, out // groups * subsets, channels // groups),
            vb=leaf(out * subsets),
            rw=leaf(groups, out // groups, subsets, depth),
            rb=leaf(groups, out // groups, subsets),
            alpha=leaf(),
            a=leaf(subsets, joints, joints),
        )
        return Case(refined_graph, dict(x=leaf(size, channels, joints, 5)) | parameters)
    given = option == 'given'
    mean, variance = (leaf(6).detach(), leaf(6).detach().abs() + 0.5) if given else (None, None)
    if kind == 'norm':
        residual = leaf(size, 6, 3, 5) if option != 'alone' else None
        arguments = dict(x=leaf(size, 6, 3, 5), residual=residual, w=leaf(6), b=leaf(6))
        arguments |= dict(mean=mean, variance=variance, rows=None, eps=1e-5)
        arguments['slope'] = 1.0 if option == 'linear' else 0.1
        return Case(norm_act, arguments, ('rows',))
    if kind == 'temporal':
        arguments = dict(u=leaf(size, 8, 3, 7), w=leaf(6), b=leaf(6), mean=mean, variance=variance)
        offsets = torch.tensor([[-2.3, -0.4, 0.6, 9.0], [-20.0, -1.5, 1.2, 2.7]], dtype=dtype)
        arguments |= dict(nw=leaf(2, 2, 4), no=offsets[0].clone().requires_grad_())
        arguments |= dict(fw=leaf(2, 2, 4), fo=offsets[1].clone().requires_grad_(), rows=None)
        arguments |= dict(eps=1e-5, stride=2 if option == 'strided' else 1, slope=0.1)
        return Case(temporal, arguments, ('rows',))
    mask = torch.rand(size, 5, generator=g) > 0.3
    clip, slot = torch.arange(size) // 2, torch.arange(size) % 2
    arguments = dict(x=leaf(size, 4, 3, 5), mask=mask, clip=clip, slot=slot)
    return Case(pooling, arguments | dict(clips=size, slots=2, length=6))


CASES = [
    'pointwise',
    'pointwise strided',
    'graph',
    'refined',
    'norm',
    'norm alone',
    'norm linear',
    'norm given',
    'temporal',
    'temporal strided',
    'temporal given',
    'pooling',
]


@pytest.mark.parametrize('name', CASES)
def test_registration(name):
    """Schema, fake kernel, autograd and tracing, as torch checks them."""
    case = make(name)
    torch.library.opcheck(case.module.OPERATOR, tuple(case.arguments.values()))


@pytest.mark.parametrize('name', CASES)
def test_gradient_of_the_reference(name):
    case = make(name, size=2)
    names = list(case.leaves())

    def function(*leaves):
        return case.run(True, **dict(zip(names, leaves, strict=True)))

    assert torch.autograd.gradcheck(function, list(case.leaves().values()), fast_mode=True)


@pytest.mark.parametrize('native', ['0', '1'])
@pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize('size', [1, 3])
@pytest.mark.parametrize('name', CASES)
def test_equals_the_reference(monkeypatch, name, size, dtype, tolerance, native):
    """Outputs and all gradients; float32 against the reference in float64."""
    monkeypatch.setenv('BHARNET_NATIVE', native)
    ours, exact = make(name, dtype, size), make(name, torch.float64, size)
    results = []
    for case, reference in ((ours, False), (exact, True)):
        y = case.run(reference)
        grad = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).cos().view(y.shape)
        grads = torch.autograd.grad(y, list(case.leaves().values()), grad.to(y.dtype))
        results.append([y.detach(), *grads])
    scale = max(t.abs().max() for t in results[1][1:])
    for what, one, other in zip(['y', *ours.leaves()], *results, strict=True):
        assert one.dtype == dtype and one.shape == other.shape, what
        error = (one.double() - other).abs().max()
        # Gradients that are zero but for rounding are measured by the largest one.
        assert error <= tolerance * max(other.abs().max(), 1e-2 * scale), what


@pytest.mark.parametrize('native', ['0', '1'])
@pytest.mark.parametrize(
    'name', ['norm', 'norm alone', 'norm linear', 'temporal', 'temporal strided']
)
def test_padding_changes_nothing(monkeypatch, name, native):
    """With ``rows``, instances behind them have zero outputs and gradients, and the others those of
    a batch without them, to the bit.
    """
    monkeypatch.setenv('BHARNET_NATIVE', native)
    whole, cut = make(name, torch.float32, 5), make(name, torch.float32, 5)
    features = [k for k, v in whole.leaves().items() if v.dim() == 4 and len(v) == 5]
    cut.arguments |= {k: cut.arguments[k].detach()[:3].requires_grad_() for k in features}
    whole.arguments['rows'] = torch.tensor(3)
    results = []
    for case in (whole, cut):
        y = case.run(False)
        grad = torch.linspace(-1, 1, 5 * y[0].numel()).cos().view(5, *y.shape[1:])[: len(y)]
        grads = torch.autograd.grad(y, list(case.leaves().values()), grad)
        results.append(dict(zip(['y', *case.leaves()], [y.detach(), *grads], strict=True)))
    for what in results[0]:
        padded, real = results[0][what], results[1][what]
        if what == 'y' or what in features:
            # Without an activation autograd hands the residual the gradient as it came.
            assert not padded[3:].any() or (what, name) == ('residual', 'norm linear'), what
            padded = padded[:3]
        assert torch.equal(padded, real), what


@pytest.mark.parametrize('name', ['pointwise', 'graph', 'refined', 'temporal'])
def test_autocast_narrows_the_features_alone(name):
    case, exact = make(name, torch.float32), make(name)
    with torch.autocast('cpu', torch.bfloat16):
        y = case.run(False)
    assert y.dtype == torch.bfloat16
    grads = torch.autograd.grad(y.float().pow(2).sum(), list(case.leaves().values()))
    assert all(g.dtype == torch.float32 for g in grads)
    expected = exact.run(True)
    assert (y - expected).norm() < 0.02 * expected.norm()


def test_plain_form_is_the_reference():
    """It may be nested, and ends with its context."""
    x, w = torch.randn(2, 4, 3), torch.randn(1, 6, 4)
    seen = []
    original = pointwise.reference
    try:
        pointwise.reference = lambda *a: seen.append(a) or original(*a)
        with plain_form(), plain_form():
            pointwise.pointwise(x, w)
        pointwise.pointwise(x, w)
    finally:
        pointwise.reference = original
    assert len(seen) == 1
