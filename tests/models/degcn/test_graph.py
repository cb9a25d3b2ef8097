import pytest
import torch

from bharnet_mm.layouts import get_layout
from bharnet_mm.models.degcn.graph import CTRGraphConv, LearnedGraphConv
from bharnet_mm.ops import plain_form


def gradients(function, module, x):
    x = x.clone().requires_grad_()
    y = function(x)
    probe = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    inputs = [x, *module.parameters()]
    return y.detach(), torch.autograd.grad((y * probe).sum(), inputs)


@pytest.mark.parametrize('layout', ['kinect_v2', 'hand'])
@pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_ctr_equals_the_equation(layout, dtype, tolerance):
    torch.manual_seed(0)
    module = CTRGraphConv(32, 64, get_layout(layout).adjacency()).to(dtype)
    module.alpha.data.fill_(0.7)
    module.refine_bias.data.normal_()
    for projection in (module.query, module.key, module.value):
        projection.bias.data.normal_()
    x = torch.randn(3, 32, get_layout(layout).num_joints, 6, dtype=dtype)
    fast, fast_grads = gradients(module, module, x)
    with plain_form():
        plain, plain_grads = gradients(module, module, x)
    torch.testing.assert_close(fast, plain, rtol=tolerance, atol=tolerance)
    for (name, _), a, b in zip(
        [('x', x), *module.named_parameters()], fast_grads, plain_grads, strict=True
    ):
        scale = b.abs().max().clamp(min=1e-3)
        assert (a - b).abs().max() / scale < tolerance, name


def test_ctr_by_hand():
    """Against sums written joint by joint, with other code than either form."""
    torch.manual_seed(0)
    adjacency = get_layout('hand').adjacency()
    module = CTRGraphConv(8, 8, adjacency, groups=1).double().eval()
    module.alpha.data.fill_(0.5)
    x = torch.randn(1, 8, 21, 4, dtype=torch.float64)
    mean = x[0].mean(-1)
    relation = module.refine_weight.size(3)
    q = module.query.weight[0] @ mean + module.query.bias[:, None]
    k = module.key.weight[0] @ mean + module.key.bias[:, None]
    value = (
        torch.einsum('oc,cvt->ovt', module.value.weight[0], x[0]) + module.value.bias[:, None, None]
    )
    expected = torch.zeros(8, 21, 4, dtype=torch.float64)
    for s in range(3):
        for o in range(8):
            for u in range(21):
                weight = module.adjacency[s, u].clone()
                for r in range(relation):
                    row = s * relation + r
                    weight = weight + 0.5 * module.refine_weight[0, o, s, r] * torch.tanh(
                        q[row, u] - k[row]
                    )
                weight = weight + 0.5 * module.refine_bias[0, o, s]
                expected[o, u] += weight @ value[o * 3 + s]
    torch.testing.assert_close(module(x)[0], module.norm(expected[None])[0])


def test_learned_graph_starts_as_the_layout_and_ignores_unlinked_joints():
    layout = get_layout('kinect_v2')
    module = LearnedGraphConv(3, 4, layout.adjacency()).eval()
    x = torch.zeros(1, 3, 25, 2)
    hand = layout.index(layout.joints[-1])
    x[:, :, hand] = 1.0
    moved = (module(x) - module(torch.zeros_like(x))).abs().sum((0, 1, 3)) > 1e-6
    linked = torch.tensor(layout.adjacency()).sum(0)[:, hand] > 0
    assert torch.equal(moved, linked)
