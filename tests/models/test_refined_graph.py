"""The chunked graph convolution."""

import pytest
import torch

from bharnet_mm.layouts import get_layout
from bharnet_mm.models import graph, refined_graph


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
    for run, limit in ((module, 1), (module, 2**30), (module.plain_forward, 1)):
        monkeypatch.setattr(refined_graph, 'CHUNK_BYTES', limit)
        module.zero_grad()
        leaf = x.clone().requires_grad_()
        y = run(leaf)
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
