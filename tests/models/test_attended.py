import pytest
import torch
from mmaction.registry import MODELS
from torch import nn

import bharnet_mm  # noqa: F401
from bharnet_mm.errors import ConfigError

SMALL = dict(embed_dims=8, num_heads=2, num_frames=4)


class Halving(nn.Module):
    """A stand-in for a stock network: a linear map of each joint, every second frame."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 8)

    def forward(self, x):
        return self.fc(x[:, :, ::2]).permute(0, 1, 4, 2, 3)


def model():
    torch.manual_seed(0)
    network = dict(type='STGCN', graph_cfg=dict(layout='coco', mode='stgcn_spatial'))
    built = MODELS.build(
        dict(type='AttendedBackbone', backbone=network, channels=8, body_joints=5, hand_joints=4,
             attention=SMALL)
    )  # fmt: skip
    built.backbone = Halving()
    return built


def clips(size=3):
    x = torch.randn(size, 2, 8, 13, 3, generator=torch.Generator().manual_seed(1))
    x[:, 1, :, 5:] = 0  # the second person's hands are never seen
    x[0, 0, 2:4, :5] = 0  # two frames without a body: one of the network's
    return x


def test_at_the_start_it_is_the_average_over_what_is_visible():
    module, x = model(), clips()
    features = module.backbone(x)  # (N, M, D, T', V)
    found = module(x)
    assert found.shape == (3, 1, 16, 1, 1)
    steps = [
        features[0, m, :, t, :5].mean(-1) for m in (0, 1) for t in range(4) if (m, t) != (0, 1)
    ]
    torch.testing.assert_close(found[0, 0, :8, 0, 0], torch.stack(steps).mean(0))
    hands = features[1, 0, :, :, 5:].mean((1, 2))
    torch.testing.assert_close(found[1, 0, 8:, 0, 0], hands)


def test_hands_reach_the_body_through_the_attention_only():
    module, x = model(), clips().requires_grad_()
    body = module(x)[:, 0, :8].sum()
    (grad,) = torch.autograd.grad(body, x)
    assert not grad[:, :, :, 5:].any()
    for attention in (module.attention.body, module.attention.hand):
        for layer in attention.values():
            nn.init.normal_(layer.out.weight)
    (grad,) = torch.autograd.grad(module(x)[:, 0, :8].sum(), x)
    assert grad[:, 0, :, 5:].any() and grad.isfinite().all()


def test_every_parameter_gets_a_gradient_without_hands():
    module, x = model(), clips()
    x[..., 5:, :] = 0
    module(x).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_another_graph_is_refused():
    with pytest.raises(ConfigError, match='12 joints.*5 of the body and 4 of each hand'):
        model()(clips()[..., :12, :])
