import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bharnet_mm.errors import ConfigError
from bharnet_mm.models import DeGCN, pack, use_plain_form


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    'layout, parameters, gmacs', [('kinect_v2', 1.412, 1.97), ('hand', 1.401, 1.60)]
)
def test_size_is_that_of_the_release(layout, parameters, gmacs):
    """Two streams, 120 classes, 64 frames, two instances: within 1 % of the released network
    (multiply-adds of the plain form).
    """
    model = use_plain_form(DeGCN(layout, num_stream=2)).eval()
    head = nn.ModuleList(nn.Linear(model.num_features, 120) for _ in range(2))
    assert (count(model) + count(head)) / 1e6 == pytest.approx(parameters, rel=0.01)
    x = torch.randn(1, 2, 64, model.layout.num_joints, 3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, rel=0.01)


@pytest.mark.parametrize(
    'options',
    [{}, dict(num_stream=2), dict(num_stream=2, split_at=3), dict(num_stream=2, split_at=10)],
)
def test_fast_form_equals_plain_form(options):
    torch.manual_seed(0)
    model = DeGCN('hand', base_channels=16, **options).double()
    for name, p in model.named_parameters():
        if name.endswith('alpha'):
            p.data.fill_(0.3)
    x = torch.randn(4, 1, 16, 21, 3, dtype=torch.float64)

    def step():
        model.zero_grad()
        out = model(x)
        (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        return out.detach(), [p.grad.clone() for p in model.parameters()]

    fast, fast_grads = step()
    use_plain_form(model)
    plain, plain_grads = step()
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-9)
    for a, b in zip(fast_grads, plain_grads, strict=True):
        # Biases in front of a batch norm have a gradient of zero but for rounding: compare on the
        # scale of the largest.
        torch.testing.assert_close(
            a, b, rtol=1e-8, atol=1e-8 * max(g.abs().max().item() for g in plain_grads)
        )


def test_absent_persons_cost_nothing_and_touch_no_statistic():
    torch.manual_seed(0)
    one = torch.randn(3, 1, 16, 25, 3)
    two = torch.cat((one, torch.zeros_like(one)), 1)
    a, b = (DeGCN('kinect_v2', base_channels=16) for _ in range(2))
    b.load_state_dict(a.state_dict())
    out_a, out_b = a(one), b(two)
    assert torch.equal(out_a[:, 0], out_b[:, 0])
    assert torch.equal(
        out_b[:, 0], out_b[:, 1]
    )  # a head's mean over persons sees the present one only
    for (name, x), y in zip(a.named_buffers(), b.buffers(), strict=True):
        assert torch.equal(x, y), name

    def cost(model, x):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(x)
        return counter.get_total_flops()

    assert cost(a, one) == cost(b, two)


def test_output_shape_and_streams():
    model = DeGCN('kinect_v1', in_channels=2, base_channels=16, num_stream=2)
    assert model(torch.randn(2, 1, 20, 20, 2)).shape == (2, 1, 128, 5, 20)
    streams = model.forward_instances(
        pack(torch.randn(2, 1, 20, 20, 2), torch.ones(2, 1, 20, dtype=torch.bool))
    )
    assert [s.x.shape for s in streams] == [(2, 64, 20, 5)] * 2


def test_an_empty_batch_of_instances_gives_zero_gradients_and_unharmed_statistics():
    model = DeGCN('hand', base_channels=16)
    before = {k: v.clone() for k, v in model.named_buffers() if 'num_batches' not in k}
    out = model(torch.zeros(2, 2, 16, 21, 3))
    assert not out.any()
    out.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())
    for name, value in before.items():
        assert torch.equal(value, dict(model.named_buffers())[name]), name


@pytest.mark.parametrize(
    'make',
    [
        lambda: DeGCN('hand', base_channels=20),
        lambda: DeGCN('hand', split_at=11),
        lambda: DeGCN('hand')(torch.zeros(1, 1, 8, 25, 3)),
        lambda: DeGCN('hand')(torch.zeros(1, 1, 8, 21, 2)),
        lambda: DeGCN('hand')(torch.zeros(1, 8, 21, 3)),
    ],
)
def test_bad_input(make):
    with pytest.raises(ConfigError, match='Fix'):
        make()


@pytest.mark.parametrize('training', [False, True])
def test_compiles_without_a_graph_break(training):
    torch.manual_seed(0)
    model = DeGCN('hand', base_channels=16, num_blocks=5).double().train(training)
    x = torch.randn(3, 3, 21, 8, dtype=torch.double)
    other = copy.deepcopy(model)
    compiled = torch.compile(model.forward_features, fullgraph=True, backend='eager')
    with torch.set_grad_enabled(training):
        one, two = compiled(x)[0], other.forward_features(x)[0]
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)
    if training:
        one.pow(2).sum().backward()
        two.pow(2).sum().backward()
        for a, b in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-7, atol=1e-9)
