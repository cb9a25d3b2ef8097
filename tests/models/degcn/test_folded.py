"""Inference with everything folded against the unfolded network in eval mode."""

import copy

import numpy as np
import pytest
import torch

from bharnet_mm.models import DeGCN
from bharnet_mm.models.degcn.network import DeGCNBlock
from bharnet_mm.ops import native
from bharnet_mm.ops.inference_block import _kept


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


def test_autocast_gets_its_own_fold(monkeypatch):
    monkeypatch.setenv('BHARNET_NATIVE', '0')
    model, x = trained(torch.float32), torch.randn(2, 2, 16, 21, 3)
    exact = outputs(model, x)
    with torch.autocast('cpu', torch.bfloat16):
        narrow = outputs(model, x)
    assert not torch.equal(narrow.float(), exact)
    assert (narrow.float() - exact).norm() < 0.03 * exact.norm()
    assert torch.equal(outputs(model, x), exact)


def a_block(channels, out, joints, **options) -> DeGCNBlock:
    """A block whose every parameter and statistic is away from its start."""
    torch.manual_seed(0)
    adjacency = np.random.default_rng(0).normal(size=(3, joints, joints))
    block = DeGCNBlock(channels, out, adjacency, **options).eval()
    with torch.no_grad():
        for name, p in block.named_parameters():
            if not name.endswith('offset'):
                p.add_(torch.randn_like(p) * 0.3)
        for name, buffer in block.named_buffers():
            if name.endswith('mean'):
                buffer.normal_()
            elif name.endswith('var'):
                buffer.uniform_(0.5, 2)
    return block


def by_native_and_exactly(block, x):
    """Outputs of the kernel, and of the block in float64."""
    assert native.kernels('folded_block', x) is not None
    ours = outputs(block, x)
    (kept,) = _kept[block.gcn.operands()[0]].values()
    assert kept[1].native is not None
    return ours, outputs(copy.deepcopy(block).double().eval(), x.double())


def assert_close(ours, exact):
    assert ours.shape == exact.shape and ours.dtype == torch.float32
    assert (ours - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.parametrize(
    'size, channels, out, joints, frames, options',
    [
        (3, 16, 16, 13, 16, {}),
        (2, 32, 32, 20, 7, {}),  # half a vector of channels a branch
        (1, 64, 64, 25, 64, {}),
        (2, 64, 128, 21, 33, dict(stride=2)),
        (2, 128, 128, 5, 18, dict(stride=2)),
        (3, 16, 48, 7, 1, {}),
        (2, 32, 24, 4, 5, dict(groups=2)),
        (2, 3, 64, 21, 30, dict(first=True)),
        (1, 2, 32, 13, 9, dict(first=True, stride=2)),
        (0, 16, 32, 6, 8, {}),
    ],
)
def test_native_equals_float64(native_kernels, size, channels, out, joints, frames, options):
    block = a_block(channels, out, joints, **options)
    x = torch.randn(size, joints, frames, channels).permute(0, 3, 1, 2)  # not contiguous
    before = x.clone()
    if size == 0:
        assert outputs(block, x).shape == (0, out, joints, frames)
        return
    ours, exact = by_native_and_exactly(block, x)
    assert_close(ours, exact)
    assert torch.equal(x, before)
    assert torch.equal(outputs(block, x[:1]), ours[:1])  # each instance by itself


@pytest.mark.parametrize(
    'offset', [(0.2, 1.3, 5.1, 2.0), (-9.0, -7.5, -8.2, -6.9), (30.5, 8, 9, 9)]
)
def test_native_repeats_the_ends_for_any_offset(native_kernels, offset):
    block, x = a_block(16, 16, 6), torch.randn(2, 16, 6, 7)
    with torch.no_grad():
        block.tcn.near.offset.copy_(torch.tensor(offset))
    assert_close(*by_native_and_exactly(block, x))


def test_native_by_two_threads(native_kernels):
    """Few instances are shared out joint by joint, many one by one."""
    block, x = a_block(32, 64, 21, stride=2), torch.randn(5, 32, 21, 12)
    for size in (1, 5):
        alone = outputs(block, x[:size])
        torch.set_num_threads(2)
        try:
            shared = outputs(block, x[:size])
        finally:
            torch.set_num_threads(1)
        assert torch.equal(shared, alone)


def test_native_keeps_nan_where_it_is(native_kernels):
    block, x = a_block(16, 16, 6), torch.randn(3, 16, 6, 8)
    x[1, 3, 2, 4] = float('nan')
    assert outputs(block, x).isnan().flatten(1).any(1).tolist() == [False, True, False]


def test_native_computes_in_float32_under_autocast(native_kernels):
    block, x = a_block(32, 32, 6), torch.randn(2, 32, 6, 8)
    exact = outputs(block, x)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(outputs(block, x), exact)


def test_an_input_that_does_not_fit_is_torchs_error():
    block = a_block(16, 16, 6)
    for shape in ((2, 16, 5, 8), (2, 12, 6, 8)):
        with pytest.raises(RuntimeError):
            outputs(block, torch.randn(shape))
