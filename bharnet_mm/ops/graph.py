r"""Graph convolution with one learned adjacency per subset ("ST-GC"):

.. math:: y_{o,u,t} = \sum_{s,v} A_{s,u,v} \Big(\sum_c W_{o,s,c} x_{c,v,t} + b_{o,s}\Big)

Shapes: x ``(P, C, V, T)``, weight ``(1, O·S, C)`` with rows ordered (channel, subset), bias
``(O·S,)``, adjacency ``(S, V, V)`` as [subset, receiver, sender].
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import pointwise
from .operator import define, is_plain, wide
from .pointwise import sum_of_products


def graph_conv(x: Tensor, weight: Tensor, bias: Tensor, adjacency: Tensor) -> Tensor:
    """The graph convolution ``(P, C, V, T)`` → ``(P, O, V, T)``."""
    if is_plain():
        return reference(x, weight, bias, adjacency)
    return OPERATOR(x, weight, bias, adjacency)


def reference(x: Tensor, weight: Tensor, bias: Tensor, adjacency: Tensor) -> Tensor:
    """The equation: project, then sum over subsets and senders."""
    value = pointwise.reference(x, weight, bias).unflatten(1, (-1, len(adjacency)))
    return torch.einsum('kuv,pokvt->pout', adjacency, value)


def mix(x: Tensor, adjacency: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The sum, aggregated first and then projected. For small ``C`` this needs a tenth of the work.

    Shapes: adjacency ``(S·V, V)``, weight ``(1, O, C·S)`` and bias ``(O, V)`` of :func:`operands`.
    """
    return pointwise.product(_gathered(x, adjacency), weight).add_(bias.to(x.dtype)[..., None])


def operands(weight: Tensor, bias: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Adjacency, weight and bias as :func:`mix` takes them. Functions of the parameters alone."""
    subsets = len(adjacency)
    weight = weight.view(-1, subsets, weight.size(2)).transpose(1, 2).flatten(1)[None]
    return adjacency.flatten(0, 1), weight, bias.view(-1, subsets) @ adjacency.sum(-1)


def _gathered(x: Tensor, adjacency: Tensor) -> Tensor:
    """``(P, C·S, V, T)``: for each subset, the weighted sum over senders."""
    size, channels, joints, frames = x.shape
    rows = channels * (len(adjacency) // joints)
    adjacency = adjacency.to(x.dtype).expand(size * channels, -1, -1)
    return torch.bmm(adjacency, x.flatten(0, 1)).view(size, rows, joints, frames)


def _graph_conv(x: Tensor, weight: Tensor, bias: Tensor, adjacency: Tensor) -> Tensor:
    return mix(x.contiguous(), *operands(weight, bias, adjacency))


def _fake(x, weight, bias, adjacency):
    return x.new_empty(x.size(0), weight.size(1) // adjacency.size(0), *x.shape[2:])


def _graph_conv_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, adjacency: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, grad, kind = x.contiguous(), grad.contiguous(), wide(x.dtype)
    size, channels, joints, frames = x.shape
    subsets = len(adjacency)
    flat_adjacency, mixing, _ = operands(weight, bias, adjacency)
    gathered = _gathered(x, flat_adjacency)
    flat_grad = grad.flatten(2)
    grad_mixing = sum_of_products(flat_grad, gathered.flatten(2), 1)[0]  # (O, C·S)
    transposed = mixing.to(x.dtype).transpose(1, 2).expand(size, -1, -1)
    grad_gathered = torch.bmm(transposed, flat_grad).view(size * channels, subsets * joints, frames)
    transposed = flat_adjacency.to(x.dtype).t().expand(size * channels, -1, -1)
    grad_x = torch.bmm(transposed, grad_gathered).view(x.shape)
    grad_adjacency = sum_of_products(grad_gathered, x.flatten(0, 1), 1)[0]
    total = grad.sum((0, 3), dtype=kind)  # (O, V), the gradient to the bias of `mix`
    grad_bias = (total @ adjacency.to(kind).sum(-1).t()).flatten()
    grad_adjacency = grad_adjacency.view(adjacency.shape).to(kind)
    grad_adjacency = grad_adjacency + (bias.to(kind).view(-1, subsets).t() @ total)[..., None]
    grad_weight = grad_mixing.view(-1, channels, subsets).transpose(1, 2).reshape(weight.shape)
    return (
        grad_x,
        grad_weight.to(weight.dtype),
        grad_bias.to(bias.dtype),
        grad_adjacency.to(adjacency.dtype),
    )


def _fake_backward(grad, x, weight, bias, adjacency):
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    return grad_x, *map(torch.empty_like, (weight, bias, adjacency))


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad: Tensor):
    return BACKWARD(grad, *ctx.saved_tensors)


BACKWARD = define(_graph_conv_backward, _fake_backward)
OPERATOR = define(_graph_conv, _fake, _setup_context, _backward, features=['x'])
