"""Graph convolution with a learned adjacency as two 1x1 convolutions: over the joints, whose weight
is the adjacency, and over channels and subsets. A channel of ones carries the bias.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import graph as default
from . import pointwise
from .common import supported


def _gathered(x: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor]:
    """Features with ones ``(P·(C + 1), V, T)``, and their sums over senders ``(P, (C + 1)·S, V,
    T)``.
    """
    size, channels, joints, frames = x.shape
    x = F.pad(x, (0, 0, 0, 0, 0, 1), value=1.0).view(-1, joints, frames)
    gathered = pointwise.product(x, adjacency.reshape(1, -1, joints), None, 1)
    return x, gathered.view(size, -1, joints, frames)


def _mixing(weight: Tensor, bias: Tensor, subsets: int) -> Tensor:
    """Weight and bias as one weight ``(1, O, (C + 1)·S)``."""
    weight, bias = weight.view(-1, subsets, weight.size(2)), bias.view(-1, subsets, 1)
    return torch.cat((weight, bias), 2).transpose(1, 2).flatten(1)[None]


def forward(x: Tensor, weight: Tensor, bias: Tensor, adjacency: Tensor) -> Tensor:
    """``(P, C, V, T)`` → ``(P, O, V, T)``, see :func:`.ops.graph.graph_conv`."""
    if not supported(x, weight, bias, adjacency) or not x.numel():
        return default._graph_conv(x, weight, bias, adjacency)
    _, gathered = _gathered(x, adjacency)
    return pointwise.product(gathered, _mixing(weight, bias, len(adjacency)), None, 1)


def backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, adjacency: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients to x, weight, bias and adjacency."""
    if not supported(grad, x, weight, bias, adjacency) or not x.numel():
        return default._graph_conv_backward(grad, x, weight, bias, adjacency)
    size, channels, joints, frames = x.shape
    subsets = len(adjacency)
    ones, gathered = _gathered(x, adjacency)
    mixing = _mixing(weight, bias, subsets)
    grad_gathered, grad_mixing, _ = pointwise.backward(grad, gathered, mixing, False, 1)
    grad_x, grad_adjacency, _ = pointwise.backward(
        grad_gathered.view(len(ones), -1, frames), ones, adjacency.view(1, -1, joints), False, 1
    )
    grad_mixing = grad_mixing.view(-1, channels + 1, subsets)
    return (
        grad_x.view(size, -1, joints, frames)[:, :channels].contiguous(),
        grad_mixing[:, :channels].transpose(1, 2).reshape(weight.shape),
        grad_mixing[:, channels].flatten(),
        grad_adjacency.view(adjacency.shape),
    )
