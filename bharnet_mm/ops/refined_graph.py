r"""Channel-wise topology refinement graph convolution (CTR-GC, Chen et al., ICCV 2021), grouped.

With query and key of the mean over time, :math:`q = W_q \bar x + b_q,\ k = W_k \bar x + b_k`,

.. math::
    y_{o,u,t} = \sum_{s,v} \Big(A_{s,u,v} + \alpha \big(\sum_r W_{o,s,r} \tanh(q_{s,r,u} -
    k_{s,r,v}) + b_{o,s}\big)\Big) \sum_c U_{o,s,c}\, x_{c,v,t}

The kernels use three identities: the mean over time is taken *before* the (linear) projection;
``alpha``, ``b`` and ``A`` enter as extra rows of the product that builds the topology; and the
subsets are summed inside one product of depth ``S·V``.

Shapes, for ``G`` groups, ``S`` subsets and ``R`` relation channels of a group and subset: x ``(P,
C, V, T)``, query and key ``(G, S·R, C/G)`` and ``(G·S·R,)``, value ``(G, O/G·S, C/G)`` and
``(O·S,)``, refine ``(G, O/G, S, R)`` and ``(G, O/G, S)``, alpha ``()``, adjacency ``(S, V, V)`` as
[subset, receiver, sender]. Rows of the value are ordered (channel, subset), those of query and key
(subset, relation channel).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import torch
from torch import Tensor

from . import native, pointwise
from .native.block import Shape
from .operator import define, is_plain, wide
from .pointwise import per_instance, sum_of_products

#: Bytes of the intermediate results of a chunk on a CPU, few enough to stay in cache.
CHUNK_BYTES = 4 * 2**20

#: Most channels of a group times frames for which the native kernel takes bfloat16.
BF16_SIZE = 512


def refined_graph_conv(x: Tensor, *parameters: Tensor) -> Tensor:
    """The graph convolution ``(P, C, V, T)`` → ``(P, O, V, T)``.

    Args:
        x (Tensor): Features.
        *parameters (Tensor): Weight and bias of query, key, value and refinement, alpha, adjacency.
    """
    return reference(x, *parameters) if is_plain() else OPERATOR(x, *parameters)[0]


def reference(
    x: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
    value_weight: Tensor,
    value_bias: Tensor,
    refine_weight: Tensor,
    refine_bias: Tensor,
    alpha: Tensor,
    adjacency: Tensor,
) -> Tensor:
    """The equation: project, then average; build the topology; sum over subsets and senders."""
    size, _, joints, frames = x.shape
    groups, out, subsets, depth = refine_weight.shape
    query = pointwise.reference(x, query_weight, query_bias).mean(-1)
    key = pointwise.reference(x, key_weight, key_bias).mean(-1)
    query, key = (t.view(size, groups, subsets, depth, joints) for t in (query, key))
    relation = torch.tanh(query.unsqueeze(-1) - key.unsqueeze(-2))  # (P, G, S, R, u, v)
    refined = torch.einsum('gosr,pgsruv->psgouv', refine_weight, relation)
    refined = refined + refine_bias.permute(2, 0, 1)[None, ..., None, None]
    refined = refined.reshape(size, subsets, groups * out, joints, joints)
    refined = refined * alpha + adjacency[None, :, None]
    value = pointwise.reference(x, value_weight, value_bias)
    value = value.view(size, groups * out, subsets, joints, frames)
    return torch.einsum('psouv,posvt->pout', refined, value)


def joined(
    value_weight: Tensor,
    value_bias: Tensor,
    refine_weight: Tensor,
    refine_bias: Tensor,
    alpha: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Value ``U (G, O/G·S, C/G)``, its bias ``(G, O/G·S)`` and the matrix ``W (G, O/G·S, S·R + 1 +
    S)`` that gives the topology from relations, a row of ones and the adjacency: block-diagonal
    over subsets.
    """
    groups, out, subsets, _ = refine_weight.shape
    eye = torch.eye(subsets, device=alpha.device, dtype=alpha.dtype)
    weight = torch.einsum('gosr,st->gostr', alpha * refine_weight, eye)
    weight = weight.reshape(groups, out * subsets, -1)
    bias = (alpha * refine_bias).reshape(groups, -1, 1)
    own = eye.repeat(out, 1).expand(groups, -1, -1)
    return value_weight, value_bias.view(groups, -1), torch.cat((weight, bias, own), dim=2)


def relate(mean: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Query or key ``(P, G, S·R, V)`` of the mean over time ``(P, C, V)``."""
    both = pointwise.product(mean, weight, bias)
    return both.view(len(mean), *weight.shape[:2], mean.size(2))


def _refined_graph_conv(
    x: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
    value_weight: Tensor,
    value_bias: Tensor,
    refine_weight: Tensor,
    refine_bias: Tensor,
    alpha: Tensor,
    adjacency: Tensor,
) -> tuple[Tensor, Tensor]:
    x = x.contiguous()
    mean = x.mean(-1, dtype=wide(x.dtype))
    query, key = relate(mean, query_weight, query_bias), relate(mean, key_weight, key_bias)
    weights = joined(value_weight, value_bias, refine_weight, refine_bias, alpha)
    y = x.new_empty(x.size(0), value_bias.numel() // len(adjacency), *x.shape[2:])
    return aggregate_(y, x, *weights, query, key, adjacency, add=False), mean


def aggregate_(y: Tensor, x: Tensor, *operands: Tensor, add: bool = True) -> Tensor:
    """Adds ``(W rel)^T (U x + b)`` to ``y (P, O, V, T)`` in place, or writes it there with
    ``add=False``.

    The operands are those of :func:`joined`, query, key and adjacency.
    """
    kernels = _kernels(x, *operands)
    if kernels is not None and y.dtype == x.dtype and y.is_contiguous():
        floats = [t.to(torch.float32).contiguous() for t in operands]
        kernels[0](
            ctypes.byref(_shape(x, operands)),
            *map(native.pointer, (x, *floats)),
            ctypes.c_int(add),
            native.pointer(y),
        )
        return y
    for part, _, values, topology in _chunks(x, *operands):
        out = y[part].flatten(0, 1)
        values = values.view(*topology.shape[:2], -1)
        if add:
            out.baddbmm_(topology.transpose(1, 2), values)
        else:
            torch.bmm(topology.transpose(1, 2), values, out=out)
    return y


def _fake(x, *parameters):
    channels = parameters[5].size(0) // parameters[9].size(0)
    y = x.new_empty(x.size(0), channels, *x.shape[2:])
    return y, x.new_empty(*x.shape[:3], dtype=wide(x.dtype))


def _refined_graph_conv_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
    value_weight: Tensor,
    value_bias: Tensor,
    refine_weight: Tensor,
    refine_bias: Tensor,
    alpha: Tensor,
    adjacency: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    x, grad = x.contiguous(), grad.contiguous()
    query, key = relate(mean, query_weight, query_bias), relate(mean, key_weight, key_bias)
    weights = joined(value_weight, value_bias, refine_weight, refine_bias, alpha)
    grad_x, grad_value, grad_bias, grad_joined, grad_query, grad_key, grad_adjacency = (
        _aggregate_backward(grad, x, *weights, query, key, adjacency)
    )
    # From the joined matrix, only those entries that can be non-zero have a gradient.
    groups, out, subsets, depth = refine_weight.shape
    columns = grad_joined.view(groups, out, subsets, -1)
    own = columns[..., : subsets * depth].unflatten(3, (subsets, depth))
    own = own.diagonal(dim1=2, dim2=3).transpose(2, 3)  # (G, O/G, S, R)
    bias = columns[..., subsets * depth]
    grad_alpha = (own * refine_weight).sum() + (bias * refine_bias).sum()
    # Gradients of query and key.
    flat_mean = pointwise.flat(mean, groups)
    grads, grad_mean = [], torch.zeros_like(flat_mean)
    for gradient, weight in ((grad_query, query_weight), (grad_key, key_weight)):
        flat_grad = gradient.flatten(0, 1).to(mean.dtype)
        grads += [sum_of_products(flat_grad, flat_mean, groups).to(weight.dtype)]
        grads += [gradient.sum((0, 3), dtype=mean.dtype).flatten().to(weight.dtype)]
        transposed = per_instance(weight.to(mean.dtype), len(x)).transpose(1, 2)
        grad_mean += torch.bmm(transposed, flat_grad)
    grad_x += grad_mean.view(mean.shape)[..., None].to(x.dtype) / x.size(3)
    kind = refine_weight.dtype
    return (
        grad_x,
        *grads,
        grad_value.to(kind),
        grad_bias.flatten().to(kind),
        (own * alpha).to(kind).contiguous(),
        (bias * alpha).to(kind).contiguous(),
        grad_alpha.to(kind),
        grad_adjacency.to(kind),
    )


def _aggregate_backward(grad: Tensor, x: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
    """Gradients to x and the operands of :func:`aggregate_`. All but x's are at least float32.

    Topology, relation and projected values together are seven times the size of the features. On a
    CPU a few instances are computed at a time, so that these stay in cache. Only the operands are
    kept for the backward pass, which computes the rest again (a tenth of its work).
    """
    kernels = _kernels(x, *operands)
    kind = wide(x.dtype)
    if kernels is not None:
        floats = [t.to(torch.float32).contiguous() for t in operands]
        grads = [torch.zeros_like(t) for t in floats]  # the kernel does not write zeros
        grad_x = torch.empty_like(x)
        kernels[1](
            ctypes.byref(_shape(x, operands)),
            *map(native.pointer, (grad, x, *floats, grad_x, *grads)),
        )
        return grad_x, *grads
    value, bias, weight, query, key, adjacency = operands = [t.to(x.dtype) for t in operands]
    subsets, joints, frames = len(adjacency), x.size(2), x.size(3)
    groups, depth = len(value), query.size(2)
    grad_x, grad_query, grad_key = (torch.empty_like(t) for t in (x, query, key))
    grad_value, grad_bias, grad_weight, grad_adjacency = (
        torch.zeros_like(t, dtype=kind) for t in (value, bias, weight, adjacency)
    )
    for part, relation, values, topology in _chunks(x, *operands):
        size = len(values)
        few = size * groups
        g = grad[part].flatten(0, 1)
        flat_x = x[part].reshape(few, -1, joints * frames)
        flat_values = values.view(-1, subsets * joints, frames)
        g_topology = torch.bmm(flat_values, g.transpose(1, 2)).view(few, -1, joints * joints)
        g_values = torch.bmm(topology, g).view(few, -1, joints * frames)
        g_relation = torch.bmm(per_instance(weight, size).transpose(1, 2), g_topology)
        torch.bmm(
            per_instance(value, size).transpose(1, 2), g_values, out=grad_x[part].view(flat_x.shape)
        )
        grad_weight += sum_of_products(g_topology, relation.flatten(0, 1), groups)
        grad_value += sum_of_products(g_values, flat_x, groups)
        grad_bias += g_values.view(size, *bias.shape, -1).sum((0, 3), dtype=kind)
        g_relation = g_relation.view(size, -1, *relation.shape[2:])
        constant = g_relation[:, :, depth + 1 :].sum((0, 1), dtype=kind)
        grad_adjacency += constant.view(subsets, joints, joints).transpose(1, 2)
        tanh = relation[:, :, :depth]
        slope = torch.ops.aten.tanh_backward(g_relation[:, :, :depth], tanh)
        slope = slope.unflatten(3, (joints, joints))  # sender, receiver
        torch.sum(slope, 3, out=grad_query[part])
        torch.sum(slope, 4, out=grad_key[part])
    return grad_x, grad_value, grad_bias, grad_weight, grad_query, grad_key.neg_(), grad_adjacency


def _fake_backward(grad, x, mean, *parameters):
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    return grad_x, *(torch.empty_like(p) for p in parameters)


def _shape(x: Tensor, operands: tuple[Tensor, ...]) -> Shape:
    value, _, _, query, _, adjacency = operands
    (groups, rows, channels), subsets = value.shape, len(adjacency)
    size = x.size(0), groups, channels, rows // subsets, query.size(2) // subsets
    return Shape(*size, *x.shape[2:])


def _kernels(x: Tensor, *operands: Tensor) -> tuple | None:
    """The native kernels if they support these operands and are faster, otherwise None."""
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
    # They compute in float32. For large products a machine with units for bfloat16 is faster.
    if x.dtype == torch.bfloat16 and channels * frames > BF16_SIZE:
        return None
    return native.kernels('refined_graph', x)


def _chunks(
    x: Tensor,
    value: Tensor,
    bias: Tensor,
    weight: Tensor,
    query: Tensor,
    key: Tensor,
    adjacency: Tensor,
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """For a few instances at a time: their indices, their relation ``(p, G, S·R + 1 + S, V·V)``
    (sender, receiver), projected values ``(p, O·S, V·T)`` and topology ``(p·O, S·V, V)``.
    """
    value, bias, weight, query, key, adjacency = (
        t.to(x.dtype) for t in (value, bias, weight, query, key, adjacency)
    )
    size, _, joints, frames = x.shape
    groups, rows = value.shape[:2]
    depth, subsets = query.size(2), len(adjacency)
    step = size
    if x.device.type == 'cpu':
        instance = groups * rows * joints * (joints + frames) * x.element_size()
        step = max(1, min(size, CHUNK_BYTES // instance))
    value, weight = per_instance(value, step), per_instance(weight, step)
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


def _setup_context(ctx, inputs, output) -> None:
    x, *parameters = inputs
    ctx.save_for_backward(x, output[1], *parameters)
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx, grad: Tensor, _):
    return (None,) * 11 if grad is None else BACKWARD(grad, *ctx.saved_tensors)


BACKWARD = define(_refined_graph_conv_backward, _fake_backward)
OPERATOR = define(_refined_graph_conv, _fake, _setup_context, _backward, features=['x'])
