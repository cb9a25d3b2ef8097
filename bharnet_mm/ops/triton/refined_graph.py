"""Refined graph convolution. Topology and projected values are never written to memory.

Forward: queries and keys of the means over time (one kernel), then, for 16 output channels of a
group and a tile of frames, topology, values and their product (one kernel). Backward: one kernel
for everything that sums over instances, with the gradients to queries and keys; one for the
gradient to the features. Both compute topology and values again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import refined_graph as default
from .common import Finish, ceil_div, finish_operands, power, precision, stages, supported
from .refined_graph_kernels import (
    features_kernel,
    forward_kernel,
    parameters_kernel,
    relate_kernel,
)
from .refined_graph_parts import BLOCK_O, BLOCK_T, BLOCK_V
from .sums import sum_parts

#: Most channels of a group, and most relation channels of a group and subset, that the kernels
#: take.
MOST_CHANNELS, MOST_RELATIONS = 64, 32


class _Sizes:
    """Sizes of an operator's operands and of the kernels' tiles."""

    def __init__(self, x: Tensor, value_weight: Tensor, refine_weight: Tensor) -> None:
        self.size, _, self.joints, self.frames = x.shape
        self.groups, self.out, self.subsets, self.depth = refine_weight.shape
        self.channels = value_weight.size(2)
        self.relations = self.subsets * self.depth
        self.numbers = (
            self.groups, self.channels, self.out, self.joints, self.frames,
        )  # fmt: skip
        block_u = power(self.joints, most=32)
        self.tiles = dict(
            S=self.subsets, R=self.depth, BLOCK_O=BLOCK_O, BLOCK_U=block_u, BLOCK_V=BLOCK_V,
            BLOCK_T=BLOCK_T, BLOCK_C=power(self.channels), PRECISION=precision(x), num_warps=8,
            num_stages=stages(x),
        )  # fmt: skip
        self.blocks_o = ceil_div(self.out, BLOCK_O)
        self.blocks_u = ceil_div(self.joints, block_u)
        self.blocks_v = ceil_div(self.joints, BLOCK_V)
        self.blocks_t = ceil_div(self.frames, BLOCK_T)


def _takes(x: Tensor, value_weight: Tensor, refine_weight: Tensor) -> bool:
    fits = value_weight.size(2) <= MOST_CHANNELS and refine_weight.size(3) <= MOST_RELATIONS
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
    relate_kernel[(sizes.size * sizes.groups, sizes.blocks_u)](
        x, mean, query_weight, query_bias, key_weight, key_bias, relations,
        sizes.groups, sizes.channels, sizes.relations, sizes.joints, sizes.frames,
        KNOWN=known, BLOCK_V=sizes.tiles['BLOCK_U'], BLOCK_C=16,
        BLOCK_T=power(sizes.frames, most=32),
        BLOCK_R=power(sizes.relations), num_warps=8,
    )  # fmt: skip
    return relations


def forward(x: Tensor, *parameters: Tensor, finish: Finish | None = None) -> tuple[Tensor, Tensor]:
    """Output ``(P, O, V, T)`` and means over time ``(P, C, V)``; parameters as the operator has
    them. With ``finish`` the output is normalised and activated, see :class:`Finish`.
    """
    value_weight, value_bias, refine_weight, refine_bias, alpha, adjacency = parameters[4:]
    if not _takes(x, value_weight, refine_weight):
        y, mean = default._refined_graph_conv(x, *parameters)
        return y if finish is None else finish.by_torch(y), mean
    x, parameters = x.contiguous(), [p.contiguous() for p in parameters]
    sizes = _Sizes(x, value_weight, refine_weight)
    mean = x.new_empty(x.shape[:3], dtype=torch.float32)
    relations = _relations(x, mean, sizes, parameters, known=False)
    y = x.new_empty(x.size(0), sizes.groups * sizes.out, sizes.joints, sizes.frames)
    grid = sizes.blocks_u * sizes.blocks_t, sizes.blocks_o, sizes.size * sizes.groups
    after, kinds = finish_operands(finish, x)
    forward_kernel[grid](
        x, relations, *parameters[4:], y, *after, *sizes.numbers, **kinds, **sizes.tiles
    )
    return y, mean


def backward(grad: Tensor, x: Tensor, mean: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    """Gradients to x and the ten parameters."""
    value_weight, _, refine_weight, refine_bias, alpha, _ = parameters[4:]
    if not _takes(x, value_weight, refine_weight):
        return default._refined_graph_conv_backward(grad, x, mean, *parameters)
    grad, x, mean = grad.contiguous(), x.contiguous(), mean.contiguous()
    parameters = [p.contiguous() for p in parameters]
    value_weight, _, refine_weight, refine_bias, alpha, _ = parameters[4:]
    sizes = _Sizes(x, value_weight, refine_weight)
    relations = _relations(x, mean, sizes, parameters, known=True)

    # Sums over instances; each program computes a part of them. Its tile has as many receivers as
    # senders: with more, more registers are spilled to memory.
    blocks, tiles = sizes.groups * sizes.blocks_o, sizes.blocks_v**2
    jobs = blocks * sizes.subsets
    splits = max(1, min(528 // (jobs * tiles), sizes.size))
    # Value, refinement, adjacency, query and key, each with its slots.
    order = [4, 5, 6, 7, 9, 0, 1, 2, 3]
    outputs = [torch.empty_like(parameters[i]) for i in order]
    slots = [1, 1, 1, 1, blocks, *[sizes.blocks_o] * 4]
    width = sum(o.numel() * n for o, n in zip(outputs, slots, strict=True))
    # A tile of joints writes only its part of the adjacency's gradient; the rest is zero.
    create = torch.empty if tiles == 1 else torch.zeros
    part = create(splits * tiles, width, dtype=torch.float32, device=x.device)
    grad_relations = relations.new_empty(sizes.blocks_o * sizes.blocks_v, *relations.shape)
    parameters_kernel[(jobs, tiles, splits)](
        grad, x, mean, relations, *parameters[4:], part, grad_relations, sizes.size, *sizes.numbers,
        width, BLOCK_D=power(sizes.depth, least=1),
        **sizes.tiles | dict(BLOCK_U=BLOCK_V, num_stages=min(stages(x), 2)),
    )  # fmt: skip
    grad_alpha = sum_parts(part, outputs, slots, (alpha, refine_weight, refine_bias))

    grad_x = torch.empty_like(x)
    grid = sizes.blocks_v * sizes.blocks_t, sizes.size * sizes.groups
    features_kernel[grid](
        grad, relations, grad_relations, *parameters[:4:2], *parameters[4:], grad_x, *sizes.numbers,
        len(grad_relations), relations.numel(), BLOCK_R=power(sizes.relations), **sizes.tiles,
    )  # fmt: skip
    by_place = dict(zip(order, outputs, strict=True)) | {8: grad_alpha}
    return grad_x, *(by_place[i] for i in range(10))
