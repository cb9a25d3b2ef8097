"""Blocks compiled one by one: the same results, few graphs, and no compiling in the middle of a
training.
"""

import copy

import torch
from torch._dynamo.testing import CompileCounterWithBackend

from bharnet_mm.models import DeGCN
from bharnet_mm.models.compiled import compile_blocks


def step(model, size, seed):
    x = torch.randn(size, 3, 21, 12, generator=torch.Generator().manual_seed(seed)).double()
    model.zero_grad()
    y = model.forward_features(x)[0]
    y.pow(2).mean().backward()
    return [y.detach(), *(p.grad for p in model.parameters())]


def test_trains_as_uncompiled_without_compiling_again():
    torch.compiler.reset()
    torch.manual_seed(0)
    plain = DeGCN('hand', base_channels=16, num_blocks=6).double()
    counter = CompileCounterWithBackend('eager')
    compiled = compile_blocks(copy.deepcopy(plain), backend=counter)
    graphs = []
    for seed, size in enumerate((5, 7, 4)):
        for one, other in zip(step(compiled, size, seed), step(plain, size, seed), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)
        graphs.append(counter.frame_count)
        for model in (compiled, plain):  # across whole numbers, and beyond the clip
            with torch.no_grad():
                for name, p in model.named_parameters():
                    if name.endswith('offset'):
                        p.mul_(2.7).add_(0.4)
    # The first, three alike, one that widens with a stride, one after it.
    assert graphs == [4, 4, 4]
