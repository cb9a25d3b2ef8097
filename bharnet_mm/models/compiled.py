"""``torch.compile`` for DeGCN, block by block."""

import torch
from torch import nn

from .degcn.network import DeGCNBlock


def compile_blocks(model: nn.Module, **options) -> nn.Module:
    """Compiles every block of a model by itself, when it first runs. Changes ``model``.

    Blocks of one shape share their code: the ten of a network give six graphs in training. The
    number of instances and of frames may change, and so may the learned offsets, without compiling
    again.

    Args:
        model (nn.Module): With :class:`DeGCN` in it.
        options: Of :func:`torch.compile`.
    """
    config = torch._dynamo.config
    # Two experts have twelve different blocks; torch's limit of 8 would leave the others
    # uncompiled.
    config.recompile_limit = max(config.recompile_limit, 64)
    for module in model.modules():
        if isinstance(module, DeGCNBlock):
            module.forward = torch.compile(
                module.forward, **(dict(fullgraph=True, dynamic=True) | options)
            )
    return model
