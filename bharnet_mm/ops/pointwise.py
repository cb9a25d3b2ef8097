"""Grouped 1x1 convolution at every ``stride``-th frame."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import define, is_plain, wide


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """``y[p, g·O/G + o, …, t] = sum_c W[g, o, c] x[p, g·C/G + c, …, stride·t] + b``.

    Args:
        x (Tensor): Features ``(P, C, *)``, time last.
        weight (Tensor): ``(G, O/G, C/G)``.
        bias (Tensor, optional): ``(O,)``.
        stride (int): Along the last axis. Defaults to 1.

    Returns:
        Tensor: ``(P, O, *)``, the last axis ``ceil(T / stride)`` long.
    """
    if is_plain():
        return reference(x, weight, bias, stride)
    return OPERATOR(x, weight, bias, stride)


def reference(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """:func:`pointwise` with torch's convolution."""
    x = x[..., ::stride]
    y = F.conv1d(x.flatten(2), weight.flatten(0, 1)[..., None], bias, groups=weight.size(0))
    return y.view(*y.shape[:2], *x.shape[2:])


def flat(x: Tensor, groups: int, stride: int = 1) -> Tensor:
    """``(P, C, *)`` → ``(P·G, C/G, N)``, at every ``stride``-th frame."""
    x = x[..., ::stride]
    return x.reshape(x.size(0) * groups, x.size(1) // groups, math.prod(x.shape[2:]))


def per_instance(weight: Tensor, size: int) -> Tensor:
    """``(G, ...)`` → ``(size·G, ...)``: torch's batched product supports only a batch that is
    expanded completely.
    """
    return weight.repeat(size, 1, 1) if weight.size(0) > 1 else weight.expand(size, -1, -1)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """:func:`pointwise` as one batched product, 2 to 8 times faster than a convolution on a CPU."""
    size, (groups, rows, _) = x.size(0), weight.shape
    y = torch.bmm(per_instance(weight.to(x.dtype), size), flat(x, groups, stride))
    y = y.view(size, groups * rows, *x.shape[2:-1], -(-x.size(-1) // stride))
    # The bias is added in place. As operand of the product it would first be copied to the full
    # size.
    return y if bias is None else y.add_(bias.to(y.dtype).view(-1, *[1] * (x.dim() - 2)))


def sum_of_products(left: Tensor, right: Tensor, groups: int) -> Tensor:
    """``sum_p left_p right_p^T`` of factors ``(P·G, ...)`` → ``(G, ...)``, in float32 at least."""
    if groups == 1 and left.device.type == 'cpu' and left.dtype != torch.bfloat16:
        total = left.new_zeros(left.size(1), right.size(1))
        return torch.addbmm(total, left, right.transpose(1, 2))[None]
    products = torch.bmm(left, right.transpose(1, 2))
    products = products.view(len(left) // groups, groups, *products.shape[1:])
    return products.sum(0, dtype=wide(left.dtype))


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    return product(x, weight, bias, stride)


def _fake(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    frames = (x.size(-1) + stride - 1) // stride
    return x.new_empty(x.size(0), weight.size(0) * weight.size(1), *x.shape[2:-1], frames)


def _pointwise_backward(
    grad: Tensor, x: Tensor, weight: Tensor, has_bias: bool, stride: int
) -> tuple[Tensor, Tensor, Tensor]:
    size, groups = x.size(0), weight.size(0)
    grad = grad.contiguous()
    flat_grad = flat(grad, groups)
    grad_x = torch.bmm(per_instance(weight.to(x.dtype), size).transpose(1, 2), flat_grad)
    if stride > 1:
        between, grad_x = grad_x, torch.zeros_like(x)
        grad_x[..., ::stride] = between.view(grad.shape[0], x.shape[1], *grad.shape[2:])
    grad_weight = sum_of_products(flat_grad, flat(x, groups, stride), groups)
    grad_bias = weight.new_empty(0)
    if has_bias:
        grad_bias = grad.flatten(2).sum((0, 2), dtype=wide(grad.dtype)).to(weight.dtype)
    return grad_x.view(x.shape), grad_weight.to(weight.dtype), grad_bias


def _fake_backward(grad, x, weight, has_bias, stride):
    bias = weight.new_empty(weight.size(0) * weight.size(1) if has_bias else 0)
    return torch.empty_like(x), torch.empty_like(weight), bias


def _setup_context(ctx, inputs, output) -> None:
    x, weight, bias, ctx.stride = inputs
    ctx.has_bias = bias is not None
    ctx.save_for_backward(x, weight)


def _backward(ctx, grad: Tensor):
    grads = BACKWARD(grad, *ctx.saved_tensors, ctx.has_bias, ctx.stride)
    return grads[0], grads[1], grads[2] if ctx.has_bias else None, None


BACKWARD = define(_pointwise_backward, _fake_backward)
OPERATOR = define(_pointwise, _fake, _setup_context, _backward, features=['x'])
