"""A DeGCN block at inference: the kernels of its operators with the running statistics, nine
launches.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .. import inference_block as default
from ..graph import mix
from ..norm_act import given_statistics
from . import norm_act, pointwise, refined_graph, temporal
from .common import supported


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
        norms = graph_norm, first_shortcut[1:], branches[1:5], branches[9:], shortcut[1:]
        block.cuda = [given_statistics(*norm[2:], eps) if norm else None for norm in norms]
    stats = block.cuda

    def normalise(y, residual, norm, given, slope):
        weights = norm[0], norm[1], None, None, None
        return norm_act.forward(y, residual, *weights, eps, slope, given)[0]

    def project(weights: list[Tensor], given: Tensor | None, stride: int) -> Tensor:
        if not weights:
            return x
        y = pointwise.product(x, weights[0], None, stride)
        return normalise(y, None, weights[1:], given, 1.0)

    if block.is_first:
        y, last = F.leaky_relu_(mix(x, *block.graph), slope), None
    else:
        y, _ = refined_graph.forward(x, *graph)
        y = normalise(y, project(first_shortcut, stats[1], 1), graph_norm, stats[0], slope)
        last = project(shortcut, stats[4], stride)
    u = pointwise.product(y, branches[0], None, 1)
    weights = branches[1], branches[2], None, None, *branches[5:9], None
    z, _ = temporal.forward(u, *weights, eps, stride, slope, stats[2])
    return normalise(z, last, branches[9:], stats[3], slope)
