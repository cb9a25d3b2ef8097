"""A DeGCN block at inference in four kernels, and one for each projected shortcut: the kernels of
its operators with the running statistics. The norm, the shortcut and the LeakyReLU that follow the
graph convolution and the branches are inside these.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from .. import inference_block as default
from ..graph import mix
from ..norm_act import given_statistics
from . import pointwise, refined_graph, temporal
from .common import Finish, supported


class _Constants(NamedTuple):
    """What depends on parameters only.

    Attributes:
        graph_norm: Scale and shift of the norm after the graph convolution.
        last_norm: Of the norm after the branches.
        hidden: Statistics ``(3, 3Q)`` of the norm before the branches.
        shortcuts: Weight and bias of the two shortcuts with their norms; None for an identity.
    """

    graph_norm: tuple[Tensor, Tensor]
    last_norm: tuple[Tensor, Tensor]
    hidden: Tensor
    shortcuts: tuple[tuple[Tensor, Tensor] | None, ...]


def _constants(graph_norm, first_shortcut, branches, shortcut, eps: float) -> _Constants:
    def projection(tensors: list[Tensor]) -> tuple[Tensor, Tensor] | None:
        if not tensors:
            return None
        weight, *norm = tensors
        scale, shift = default.folded_norm(norm, eps)
        return weight * scale.view(weight.size(0), -1, 1), shift

    return _Constants(
        default.folded_norm(graph_norm, eps),
        default.folded_norm(branches[9:], eps),
        given_statistics(*branches[3:5], eps),
        (projection(first_shortcut), projection(shortcut)),
    )


def forward(
    x: Tensor,
    graph: list[Tensor],
    graph_norm: list[Tensor],
    first_shortcut: list[Tensor],
    branches: list[Tensor],
    shortcut: list[Tensor],
    stride: int,
    eps: float,
    slope: float,
) -> Tensor:
    """``(P, C, V, T)`` → ``(P, O, V, T')``; the operands are those of :func:`.inference_block`."""
    lists = graph, graph_norm, first_shortcut, branches, shortcut
    if not supported(x, *graph, *branches) or not x.numel():
        return default._inference_block(x, *lists, stride, eps, slope)
    x = x.contiguous()
    block = default.folded(x.dtype, *lists, eps=eps)  # keeps values that depend on parameters only
    if block.cuda is None:
        block.cuda = _constants(*lists[1:], eps)
    constants = block.cuda
    if block.is_first:
        y = F.leaky_relu_(mix(x, *block.graph), slope)
        last = None
    else:
        first, second = constants.shortcuts
        residual = x if first is None else pointwise.product(x, *first, 1)
        y, _ = refined_graph.forward(
            x, *graph, finish=Finish(*constants.graph_norm, residual, slope)
        )
        last = x if second is None else pointwise.product(x, *second, stride)
    u = pointwise.product(y, branches[0], None, 1)
    weights = branches[1], branches[2], None, None, *branches[5:9], None
    finish = Finish(*constants.last_norm, last, slope)
    return temporal.forward(u, *weights, eps, stride, slope, constants.hidden, finish)[0]
