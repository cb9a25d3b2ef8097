"""``torch.compile`` for DeGCN, block by block."""

import torch
from torch import nn

from .degcn.network import DeGCNBlock


def compile_blocks(model: nn.Module, **options) -> nn.Module:
    """Compiles every block of a model separately, at its first call. Changes ``model``.

    Blocks of the same shape share their code, so the ten blocks of a network give six graphs in
    training. Other numbers of instances or frames and changed offsets need no new compilation.

    Args:
        model (nn.Module): A model with a :class:`DeGCN`.
        options: Arguments of :func:`torch.compile`.
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
