"""Refined graph convolution: topology and projected values are written to memory once and read
once, forward and backward.

Forward: queries and keys of the means over time; topology; values; their product (four kernels).
Backward: the first three again; the gradients to topology and values; those of everything that the
topology depends on; those of features and value weight. Nothing of the size of the topology is kept
between the two.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import refined_graph as default
from . import pointwise
from .common import (
    Finish,
    ceil_div,
    exact,
    finish_operands,
    power,
    precision,
    supported,
)
from .refined_graph_kernels import (
    features_kernel,
    mix_backward_kernel,
    mix_kernel,
    relate_kernel,
    relations_kernel,
    topology_kernel,
)
from .sums import sum_parts

#: Most channels of a group, in and out, relation channels of a group and subset, and joints, that
#: the kernels take.
MOST_CHANNELS, MOST_OUT, MOST_RELATIONS, MOST_JOINTS = 64, 128, 31, 128


class _Sizes:
    """Sizes of an operator's operands and of the kernels' tiles."""

    def __init__(self, x: Tensor, value_weight: Tensor, refine_weight: Tensor) -> None:
        self.size, _, self.joints, self.frames = x.shape
        self.groups, self.out, self.subsets, self.depth = refine_weight.shape
        self.channels = value_weight.size(2)
        self.relations = self.subsets * self.depth
        self.blocks = self.size * self.groups
        self.rows = self.blocks * self.out  # channels of all instances
        # A line of the topology: several values can be loaded at a time.
        self.line = 8 * ceil_div(self.joints, 8)
        self.pairs_size = 16 * ceil_div(self.joints * self.line, 16)
        block_v, block_t = power(self.joints, most=32), power(self.frames, most=64)
        self.blocks_v, self.blocks_t = (
            ceil_div(self.joints, block_v),
            ceil_div(self.frames, block_t),
        )
        #: Tiles of the product of topology and values.
        self.mix = dict(
            S=self.subsets, LINE=self.line, PRECISION=precision(x), BLOCK_V=block_v,
            BLOCK_T=block_t, num_warps=max(1, block_v * block_t // 1024),
        )  # fmt: skip
        #: Tiles of the kernels of the topology.
        self.pairs = dict(
            S=self.subsets, R=self.depth, LINE=self.line, BLOCK_O=power(self.out),
            BLOCK_D=power(self.depth + 1), BLOCK_N=64, FINE=_fine(x),
        )  # fmt: skip


def _fine(x: Tensor) -> str:
    """Precision of the products of float32 values in the kernels of the topology."""
    return precision(x) if x.dtype == torch.float32 else exact('tf32')


def _takes(x: Tensor, value_weight: Tensor, refine_weight: Tensor) -> bool:
    fits = value_weight.size(2) <= MOST_CHANNELS and refine_weight.size(3) <= MOST_RELATIONS
    fits = fits and refine_weight.size(1) <= MOST_OUT and x.size(2) <= MOST_JOINTS
    programs = x.size(0) * len(value_weight)
    return fits and supported(x, value_weight, programs=programs) and x.numel() > 0


def _relations(x: Tensor, mean: Tensor, sizes: _Sizes, parameters, known: bool) -> Tensor:
    """Queries and keys ``(P, G, 2, S·R, V)`` in float32; writes the means over time unless they are
    known.
    """
    query_weight, query_bias, key_weight, key_bias = parameters[:4]
    relations = x.new_empty(
        sizes.size, sizes.groups, 2, sizes.relations, sizes.joints, dtype=torch.float32
    )
    block_v = power(sizes.joints, most=32)
    relate_kernel[(sizes.blocks, ceil_div(sizes.joints, block_v))](
        x, mean, query_weight, query_bias, key_weight, key_bias, relations,
        sizes.groups, sizes.channels, sizes.relations, sizes.joints, sizes.frames,
        KNOWN=known, BLOCK_V=block_v, BLOCK_C=16, BLOCK_T=power(sizes.frames, most=32),
        BLOCK_R=power(sizes.relations), num_warps=4,
    )  # fmt: skip
    return relations


def _operands(x: Tensor, relations: Tensor, sizes: _Sizes, parameters) -> tuple[Tensor, Tensor]:
    """Topology ``(P·O, S, line)`` and values ``(P, O·S, V, T)``."""
    value_weight, value_bias, refine_weight, refine_bias, alpha, adjacency = parameters[4:]
    graph = x.new_empty(sizes.rows, sizes.subsets, sizes.pairs_size)
    topology_kernel[(ceil_div(sizes.pairs_size, sizes.pairs['BLOCK_N']), sizes.blocks)](
        relations, refine_weight, refine_bias, alpha, adjacency, graph, sizes.groups, sizes.out,
        sizes.joints, sizes.pairs_size, num_warps=2,
        num_stages=1, **sizes.pairs | dict(BLOCK_O=power(sizes.out, most=32)),
    )  # fmt: skip
    return graph, pointwise.product(x, value_weight, value_bias, 1)


def forward(x: Tensor, *parameters: Tensor, finish: Finish | None = None) -> tuple[Tensor, Tensor]:
    """Output ``(P, O, V, T)`` and means over time ``(P, C, V)``; parameters as the operator has
    them. With ``finish`` the output is normalised and activated, see :class:`Finish`.
    """
    value_weight, _, refine_weight = parameters[4:7]
    if not _takes(x, value_weight, refine_weight):
        y, mean = default._refined_graph_conv(x, *parameters)
        return y if finish is None else finish.by_torch(y), mean
    x, parameters = x.contiguous(), [p.contiguous() for p in parameters]
    sizes = _Sizes(x, value_weight, refine_weight)
    mean = x.new_empty(x.shape[:3], dtype=torch.float32)
    relations = _relations(x, mean, sizes, parameters, known=False)
    graph, values = _operands(x, relations, sizes, parameters)
    y = x.new_empty(x.size(0), sizes.groups * sizes.out, sizes.joints, sizes.frames)
    after, kinds = finish_operands(finish, x)
    mix_kernel[(sizes.rows, sizes.blocks_t, sizes.blocks_v)](
        graph, values, y, *after, y.size(1), sizes.joints, sizes.frames, sizes.pairs_size, **kinds,
        **sizes.mix,
    )  # fmt: skip
    return y, mean


def backward(grad: Tensor, x: Tensor, mean: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    """Gradients to x and the ten parameters."""
    value_weight, _, refine_weight, *_ = parameters[4:]
    if not _takes(x, value_weight, refine_weight):
        return default._refined_graph_conv_backward(grad, x, mean, *parameters)
    grad, x, mean = grad.contiguous(), x.contiguous(), mean.contiguous()
    parameters = [p.contiguous() for p in parameters]
    query_weight, _, key_weight, _, value_weight, _, refine_weight, refine_bias, alpha, _ = (
        parameters
    )
    sizes = _Sizes(x, value_weight, refine_weight)
    relations = _relations(x, mean, sizes, parameters, known=True)
    graph, values = _operands(x, relations, sizes, parameters)
    grad_graph, grad_values = torch.empty_like(graph), torch.empty_like(values)
    mix_backward_kernel[(sizes.rows, sizes.blocks_v)](
        grad, graph, values, grad_graph, grad_values, sizes.joints, sizes.frames, sizes.pairs_size,
        ONE=sizes.blocks_v == sizes.blocks_t == 1, **sizes.mix,
    )  # fmt: skip
    del graph, values

    # Sums over instances; each program computes a part of them.
    jobs = sizes.groups * sizes.subsets
    splits = ceil_div(sizes.size, ceil_div(sizes.size, max(1, 1056 // jobs)))
    order = [0, 1, 6, 7, 9, 2, 3]  # query, refinement, adjacency, key
    outputs = [torch.empty_like(parameters[i]) for i in order]
    slots = [sizes.groups if i == 9 else 1 for i in order]
    width = sum(o.numel() * n for o, n in zip(outputs, slots, strict=True))
    part = x.new_empty(splits, width, dtype=torch.float32)
    grad_relations = torch.empty_like(relations)
    relations_kernel[(jobs, splits)](
        grad_graph, mean, relations, refine_weight, alpha, part, grad_relations,
        sizes.size, sizes.groups, sizes.channels, sizes.out, sizes.joints, sizes.pairs_size, width,
        BLOCK_C=power(sizes.channels), BLOCK_V=power(sizes.joints), PRECISION=precision(x),
        **sizes.pairs, num_warps=4, num_stages=1, maxnreg=168,
    )  # fmt: skip
    grad_alpha = sum_parts(part, outputs, slots, (alpha, refine_weight, refine_bias))

    grad_x = torch.empty_like(x)
    places = sizes.joints * sizes.frames
    features_kernel[(ceil_div(places, 128), sizes.blocks)](
        grad_values, value_weight, grad_relations, query_weight, key_weight, grad_x, sizes.groups,
        sizes.channels, sizes.out * sizes.subsets, sizes.relations, sizes.joints, sizes.frames,
        PRECISION=precision(x), FINE=sizes.pairs['FINE'], BLOCK_C=power(sizes.channels),
        BLOCK_K=32, BLOCK_R=power(sizes.relations), BLOCK_N=128,
    )  # fmt: skip
    grad_value = pointwise.weight_gradients(grad_values, x, value_weight, True, 1)
    by_place = dict(zip(order, outputs, strict=True)) | {8: grad_alpha}
    by_place |= dict(zip((4, 5), grad_value, strict=True))
    return grad_x, *(by_place[i] for i in range(10))
