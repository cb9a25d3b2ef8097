"""The refined graph convolution's kernel: topology, projection and aggregation, a few instances at a
time.

With ``rel(p) = tanh(q - k)`` and rows of ones and of the adjacency below it (so that ``alpha``, the bias
and ``A`` are part of one product), an instance's output is ``y = (W rel)^T (U x + b)``.

Shapes of the operands, for ``G`` groups and ``S`` subsets: x ``(P, C, V, T)``, value ``U (G, O/G·S,
C/G)``, bias ``b (G, O/G·S)``, weight ``W (G, O/G·S, D + 1 + S)``, query ``(P, G, D, V)``, key
``(P, G, D, V)``, adjacency ``(S, V, V)`` as ``[s, u, v]``. Rows of ``O/G·S`` are ordered (channel,
subset).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import torch
from torch import Tensor

from . import native
from .native.block import Shape

#: Bytes of what lies between a chunk's input and its output, on a CPU: few enough to stay in cache.
CHUNK_BYTES = 4 * 2**20

#: Most channels of a group times frames for which the native kernel takes bfloat16.
BF16_SIZE = 512


def refined_graph_conv(x: Tensor, *operands: Tensor) -> Tensor:
    """``y (P, O, V, T)`` of the operands x, value, bias, weight, query, key, adjacency."""
    kernels = _kernels(x, *operands)
    if kernels is not None:
        return NativeRefinedGraphConv.apply(kernels, x, *operands)
    if not torch.compiler.is_compiling():
        return RefinedGraphConv.apply(x, *operands)
    # A compiler plans buffers and recomputation itself, and cannot trace writes into slices.
    value, bias, weight, query, key, adjacency = operands
    size, _, joints, frames = x.shape
    groups, rows = value.shape[:2]
    constant = torch.cat((adjacency.new_ones(1, joints, joints), adjacency.transpose(1, 2)))
    relation = torch.tanh(query[:, :, :, None] - key[..., None])
    relation = torch.cat((relation, constant.expand(size, groups, -1, -1, -1)), dim=2).flatten(3)
    values = value @ x.view(size, groups, -1, joints * frames) + bias[..., None]
    topology = (weight @ relation).view(size, -1, len(adjacency) * joints, joints)
    values = values.view(*topology.shape[:3], frames)
    return topology.transpose(2, 3) @ values


class RefinedGraphConv(torch.autograd.Function):
    """:func:`refined_graph_conv` with its gradient.

    Topology, relation and projected values together are seven times the size of the features. On a
    CPU a few instances are worked on at a time, so that they do not leave the cache; and nothing but
    the operands is kept for the backward pass, which builds them again (a tenth of its work).
    """

    @staticmethod
    def forward(ctx, x: Tensor, *operands: Tensor) -> Tensor:
        ctx.save_for_backward(x, *operands)
        bias, adjacency = operands[1], operands[-1]
        y = x.new_empty(x.size(0), bias.numel() // len(adjacency), *x.shape[2:])
        return aggregate_(y, x, *operands, add=False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, ...]:
        x, value, bias, weight, query, key, adjacency = operands = ctx.saved_tensors
        subsets, joints, frames = len(adjacency), x.size(2), x.size(3)
        depth = query.size(2)
        grad = grad.contiguous()
        grad_x, grad_query, grad_key = (torch.empty_like(t) for t in (x, query, key))
        wide = torch.promote_types(x.dtype, torch.float32)
        grad_value, grad_bias, grad_weight, grad_adjacency = (
            torch.zeros_like(t, dtype=wide) for t in (value, bias, weight, adjacency)
        )
        for part, relation, values, topology in _chunks(*operands):
            size = len(values)
            few = size * value.size(0)
            g = grad[part].flatten(0, 1)
            flat_x = x[part].reshape(few, -1, joints * frames)
            flat_values = values.view(-1, subsets * joints, frames)
            g_topology = torch.bmm(flat_values, g.transpose(1, 2)).view(few, -1, joints * joints)
            g_values = torch.bmm(topology, g).view(few, -1, joints * frames)
            g_relation = torch.bmm(_repeat(weight, size).transpose(1, 2), g_topology)
            torch.bmm(
                _repeat(value, size).transpose(1, 2), g_values, out=grad_x[part].view(flat_x.shape)
            )
            grad_weight += _sum_of_products(g_topology, relation.flatten(0, 1), weight.shape)
            grad_value += _sum_of_products(g_values, flat_x, value.shape)
            grad_bias += g_values.view(size, *bias.shape, -1).sum((0, 3), dtype=wide)
            g_relation = g_relation.view(size, -1, *relation.shape[2:])
            constant = g_relation[:, :, depth + 1 :].sum((0, 1), dtype=wide)
            grad_adjacency += constant.view(subsets, joints, joints).transpose(1, 2)
            tanh = relation[:, :, :depth]
            slope = torch.ops.aten.tanh_backward(g_relation[:, :, :depth], tanh)
            slope = slope.unflatten(3, (joints, joints))  # sender, receiver
            torch.sum(slope, 3, out=grad_query[part])
            torch.sum(slope, 4, out=grad_key[part])
        return (
            grad_x,
            grad_value.to(value.dtype),
            grad_bias.to(bias.dtype),
            grad_weight.to(weight.dtype),
            grad_query,
            grad_key.neg_(),
            grad_adjacency.to(adjacency.dtype),
        )


class NativeRefinedGraphConv(torch.autograd.Function):
    """:class:`RefinedGraphConv` by the native kernel: one instance and group at a time, all in cache.

    Reads of ``W`` what is not zero by construction, and gives a gradient to that alone: a subset's rows read
    the relation channels and the adjacency of that subset (the latter with a constant weight).
    """

    @staticmethod
    def forward(ctx, kernels: tuple, x: Tensor, *operands: Tensor) -> Tensor:
        x, ctx.kernel = x.contiguous(), kernels[1]
        ctx.save_for_backward(x, *operands)
        y = x.new_empty(x.size(0), operands[1].numel() // len(operands[-1]), *x.shape[2:])
        _call_forward(kernels[0], y, x, operands, add=False)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *operands = ctx.saved_tensors
        floats = [t.to(torch.float32).contiguous() for t in operands]
        grads = [torch.zeros_like(t) for t in floats]  # the kernel leaves out what is zero
        value, bias, weight, query, key, adjacency = grads
        grad_x, grad = torch.empty_like(x), grad.contiguous()
        ctx.kernel(
            ctypes.byref(_shape(x, operands)),
            *map(native.pointer, (grad, x, *floats, grad_x, *grads)),
        )
        return None, grad_x, *(g.to(t.dtype) for g, t in zip(grads, operands, strict=True))


def _shape(x: Tensor, operands: tuple[Tensor, ...]) -> Shape:
    value, _, _, query, _, adjacency = operands
    (groups, rows, channels), subsets = value.shape, len(adjacency)
    size = x.size(0), groups, channels, rows // subsets, query.size(2) // subsets
    return Shape(*size, *x.shape[2:])


def _kernels(x: Tensor, *operands: Tensor) -> tuple | None:
    """The native kernels, where they take these operands and are faster."""
    value, _, _, query, _, adjacency = operands
    size, _, joints, frames = x.shape
    (groups, rows, channels), depth = value.shape, query.size(2)
    shapes = [
        (groups, rows, channels),
        (groups, rows),
        (groups, rows, depth + 4),
        (size, groups, depth, joints),
        (size, groups, depth, joints),
        (3, joints, joints),
    ]
    if [t.shape for t in operands] != shapes or x.size(1) != groups * channels or depth > 3 * 15:
        return None
    # They compute in float32, which a machine with products in bfloat16 beats where those are large.
    if x.dtype == torch.bfloat16 and channels * frames > BF16_SIZE:
        return None
    return native.kernels('refined_graph', x, *operands)


def _call_forward(kernel, y: Tensor, x: Tensor, operands: tuple[Tensor, ...], add: bool) -> None:
    floats = [t.to(torch.float32).contiguous() for t in operands]
    kernel(
        ctypes.byref(_shape(x, operands)),
        *map(native.pointer, (x, *floats)),
        ctypes.c_int(add),
        native.pointer(y),
    )


def aggregate_(y: Tensor, x: Tensor, *operands: Tensor, add: bool = True) -> Tensor:
    """Adds ``(W rel)^T (U x + b)`` to ``y (P, O, V, T)`` in place; with ``add=False`` writes it there."""
    if torch.compiler.is_compiling():
        return y + refined_graph_conv(x, *operands)
    kernels = _kernels(x, *operands)
    if kernels is not None and y.dtype == x.dtype and y.is_contiguous():
        _call_forward(kernels[0], y, x.contiguous(), operands, add)
        return y
    for part, _, values, topology in _chunks(x, *operands):
        out = y[part].flatten(0, 1)
        values = values.view(*topology.shape[:2], -1)
        if add:
            out.baddbmm_(topology.transpose(1, 2), values)
        else:
            torch.bmm(topology.transpose(1, 2), values, out=out)
    return y


def _chunks(
    x: Tensor,
    value: Tensor,
    bias: Tensor,
    weight: Tensor,
    query: Tensor,
    key: Tensor,
    adjacency: Tensor,
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """For a few instances at a time: which, their relation ``(p, G, D + 1 + S, V·V)`` (sender,
    receiver), projected values ``(p, O·S, V·T)`` and topology ``(p·O, S·V, V)``.
    """
    size, _, joints, frames = x.shape
    groups, rows = value.shape[:2]
    depth, subsets = query.size(2), len(adjacency)
    step = size
    if x.device.type == 'cpu':
        instance = groups * rows * joints * (joints + frames) * x.element_size()
        step = max(1, min(size, CHUNK_BYTES // instance))
    value, weight = _repeat(value, step), _repeat(weight, step)
    relations = x.new_empty(step, groups, depth + 1 + subsets, joints, joints)
    relations[:, :, depth] = 1
    relations[:, :, depth + 1 :] = adjacency.transpose(1, 2)
    for start in range(0, size, step):
        part = slice(start, min(start + step, size))
        few = (part.stop - start) * groups
        relation = relations[: part.stop - start]
        torch.sub(query[part, :, :, None], key[part, ..., None], out=relation[:, :, :depth])
        relation[:, :, :depth].tanh_()
        relation = relation.flatten(3)
        values = torch.bmm(value[:few], x[part].reshape(few, -1, joints * frames))
        values = values.view(-1, groups * rows, joints * frames)
        values += bias.view(-1, 1)
        topology = torch.bmm(weight[:few], relation.flatten(0, 1))
        yield part, relation, values, topology.view(-1, subsets * joints, joints)


def _repeat(weight: Tensor, size: int) -> Tensor:
    """``(G, ...)`` → ``(size·G, ...)``: torch's batched product takes no broadcast batch."""
    return weight.repeat(size, 1, 1) if size > 1 else weight


def _sum_of_products(left: Tensor, right: Tensor, shape: torch.Size) -> Tensor:
    """``sum_p left_p right_p^T`` of ``(p·G, ...)`` factors, in float32 at least."""
    product = torch.bmm(left, right.transpose(1, 2)).view(-1, *shape)
    return product.sum(0, dtype=torch.promote_types(left.dtype, torch.float32))
