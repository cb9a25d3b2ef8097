"""A DeGCN block at inference as one operator. Values that depend on parameters only are computed
once.

The block is ``y = act(norm(graph(x)) + shortcut_1(x))``, ``out = act(norm(branches(y)) +
shortcut_2(x))`` with the running statistics. Every batch norm is folded into the product before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..errors import BHaRNetError
from . import native
from .graph import mix
from .graph import operands as graph_operands
from .native.block import NativeBlock
from .norm_act import NEGATIVE_SLOPE
from .operator import define, narrowed
from .pointwise import product
from .refined_graph import aggregate_, joined, relate
from .temporal import Composed, max_of_three


def inference_block(
    x: Tensor,
    graph: list[Tensor],
    graph_norm: list[Tensor],
    first_shortcut: list[Tensor],
    temporal: list[Tensor],
    shortcut: list[Tensor],
    stride: int,
    eps: float,
) -> Tensor:
    """``(P, C, V, T)`` → ``(P, O, V, ceil(T / stride))``.

    A norm is its weight, bias, running mean and variance.

    Args:
        x (Tensor): Features.
        graph (list[Tensor]): Parameters of :func:`.graph.graph_conv` (3, a network's first block,
            which has no shortcuts) or of :func:`.refined_graph.refined_graph_conv` (10).
        graph_norm (list[Tensor]): The norm after it.
        first_shortcut (list[Tensor]): Weight and norm of its shortcut; none for an identity.
        temporal (list[Tensor]): Weight of the 1x1 convolution, norm of three quarters of its
            output, weight and offset of the near and of the far branch, norm of all.
        shortcut (list[Tensor]): Weight and norm of the second shortcut; none for an identity.
        stride (int): Along time.
        eps (float): Of the norms.
    """
    lists = graph, graph_norm, first_shortcut, temporal, shortcut
    return OPERATOR(x, *lists, stride, eps, NEGATIVE_SLOPE)


def folded_norm(norm: list[Tensor], eps: float) -> tuple[Tensor, Tensor]:
    """Scale and shift of a norm: ``norm(x) = scale·x + shift``."""
    weight, bias, mean, variance = norm
    scale = torch.rsqrt(variance + eps) * weight
    return scale, bias - mean * scale


@dataclass
class Folded:
    """A block's operands with all norms folded in, in the type of the features.

    Attributes:
        graph (list[Tensor]): In a first block adjacency, weight and bias as :func:`.graph.mix`
            takes them; else the ten parameters of :func:`.refined_graph.refined_graph_conv`.
        first_shortcut (list[Tensor]): Weight ``(G, O/G, C/G)`` and bias ``(O,)``; for an identity
            the shift ``(O,)``; empty in a first block.
        shortcut (list[Tensor]): Weight and bias; empty for an identity and in a first block.
        hidden (list[Tensor]): Weight ``(1, 3Q, O)`` and bias ``(3Q,)`` before the first three
            branches.
        near (list[Tensor]): Weight ``(Q, Q, eta)`` and offset ``(eta,)`` (not cast), bias ``(Q,)``.
        far (list[Tensor]): The same for the far branch.
        pool (list[Tensor]): Scale and shift ``(Q,)`` after the maximum.
        direct (list[Tensor]): Weight ``(1, Q, O)`` and bias ``(Q,)`` of the fourth branch.
    """

    graph: list[Tensor]
    first_shortcut: list[Tensor]
    shortcut: list[Tensor]
    hidden: list[Tensor]
    near: list[Tensor]
    far: list[Tensor]
    pool: list[Tensor]
    direct: list[Tensor]
    native: NativeBlock | None = None
    cuda: object = None

    @property
    def is_first(self) -> bool:
        """Whether it is a network's first block."""
        return len(self.graph) == 3

    def packed(self) -> tuple[Tensor, ...]:
        """Value, bias and matrix of :func:`.refined_graph.joined`, the adjacency, and the weight
        ``(G, 2·S·R, C/G)`` and bias of query and key together.
        """
        query, query_bias, key, key_bias, *values = self.graph
        groups = len(query)
        bias = torch.stack([b.view(groups, -1) for b in (query_bias, key_bias)], 1).flatten()
        return *joined(*values[:5]), values[5], torch.cat((query, key), dim=1), bias


def fold(
    dtype: torch.dtype,
    graph: list[Tensor],
    graph_norm: list[Tensor],
    first_shortcut: list[Tensor],
    temporal: list[Tensor],
    shortcut: list[Tensor],
    eps: float,
) -> Folded:
    """Folds a block's norms.

    Raises:
        BHaRNetError: For an offset that is not finite.
    """

    def cast(*tensors: Tensor) -> list[Tensor]:
        return [t.detach().to(dtype).contiguous() for t in tensors]

    def projected(tensors: list[Tensor], shift: Tensor | None) -> list[Tensor]:
        weight, *norm = tensors
        scale, own = folded_norm(norm, eps)
        weight = weight * scale.view(weight.size(0), -1, 1)
        return cast(weight, own if shift is None else own + shift)

    scale, shift = folded_norm(graph_norm, eps)
    is_first = len(graph) == 3
    if is_first:
        adjacency, weight, bias = graph_operands(*graph)
        graph = [adjacency, weight * scale[:, None], bias * scale[:, None] + shift[:, None]]
        first = []
    else:
        by_row = scale.repeat_interleave(len(graph[9]))
        weight, bias = graph[4], graph[5]
        weight = weight * by_row.view(*weight.shape[:2], 1)
        graph = [*graph[:4], weight, bias * by_row, *graph[6:]]
        first = projected(first_shortcut, shift) if first_shortcut else cast(shift)

    reduce, near_weight, near_offset, far_weight, far_offset = temporal[:1] + temporal[5:9]
    for offset in (near_offset, far_offset):
        if not bool(torch.isfinite(offset).all()):
            raise BHaRNetError(
                'a deformable temporal convolution',
                f'offsets {offset.tolist()}',
                'finite numbers',
                'train again with a smaller learning rate, or take an earlier checkpoint',
            )
    quarter = len(near_weight)
    scale, shift = folded_norm(temporal[1:5], eps)
    scales, shifts = (t.split(quarter) for t in folded_norm(temporal[9:], eps))
    deformable = [
        [(weight * scales[i].view(-1, 1, 1)).detach(), offset.detach(), *cast(shifts[i])]
        for i, (weight, offset) in enumerate(((near_weight, near_offset), (far_weight, far_offset)))
    ]
    return Folded(
        cast(*graph),
        first,
        projected(shortcut, None) if shortcut else [],
        cast(reduce[:, : 3 * quarter] * scale[:, None], shift),
        *deformable,
        cast(scales[2], shifts[2]),
        cast(reduce[:, 3 * quarter :] * scales[3][:, None], shifts[3]),
    )


#: Of the first parameter of a block: type of the features and eps → state and operands.
_kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
_drops = 0


def folded(dtype: torch.dtype, *lists: list[Tensor], eps: float) -> Folded:
    """Calls :func:`fold` if a parameter or statistic has changed since the last call for this type,
    and otherwise returns the last result.
    """
    tensors = [t for tensors in lists for t in tensors]
    state = [(t._version, t.data_ptr()) for t in tensors]
    by_type = _kept.setdefault(tensors[0], {})
    kept = by_type.get((dtype, eps))
    if kept is None or kept[0] != state:
        if kept is not None:
            _drop()
        kept = by_type[dtype, eps] = state, fold(dtype, *lists, eps=eps)
    return kept[1]


def forget(graph: list[Tensor]) -> None:
    """Makes a block fold again at its next call. It is needed after writes through ``.data`` (as in
    EMA), which :func:`folded` does not notice.
    """
    if _kept.pop(graph[0], None):
        _drop()


def drops() -> int:
    """How often operands were dropped so far. A CUDA graph that was recorded before would read
    memory that is no longer theirs.
    """
    return _drops


def _drop() -> None:
    global _drops
    _drops += 1


def _inference_block(
    x: Tensor,
    graph: list[Tensor],
    graph_norm: list[Tensor],
    first_shortcut: list[Tensor],
    temporal: list[Tensor],
    shortcut: list[Tensor],
    stride: int,
    eps: float,
    slope: float,
) -> Tensor:
    x = x.contiguous()
    block = folded(x.dtype, graph, graph_norm, first_shortcut, temporal, shortcut, eps=eps)
    y = mix(x, *block.graph) if block.is_first else x
    kernels = native.kernels('folded_block', y) if len(x) else None
    if kernels is not None and NativeBlock.can_take(block, stride):
        block.native = block.native or NativeBlock(block, _compose, stride, slope)
        if block.native.fits(y):
            return block.native(kernels[0], y)
    if block.is_first:
        return F.leaky_relu_(_branches(y, block, stride, slope), slope)
    if len(block.first_shortcut) > 1:
        y = product(x, *block.first_shortcut)
    else:
        y = x + block.first_shortcut[0].view(-1, 1, 1)
    mean = x.mean(-1)
    query, key = relate(mean, *block.graph[:2]), relate(mean, *block.graph[2:4])
    aggregate_(y, x, *joined(*block.graph[4:9]), query, key, block.graph[9])
    y = _branches(y, block, stride, slope)
    y += product(x, *block.shortcut, stride) if block.shortcut else x
    return F.leaky_relu_(y, slope)


def _compose(branch: list[Tensor], frames: int) -> tuple[Tensor, int]:
    composed = Composed(branch[0], branch[1], frames, 1)
    return composed.kernel, composed.first


def _branches(x: Tensor, block: Folded, stride: int, slope: float) -> Tensor:
    x = F.leaky_relu_(x, slope)
    hidden = F.leaky_relu_(product(x, *block.hidden), slope)
    near, far, pool = hidden.chunk(3, dim=1)
    parts = []
    for features, (weight, offset, bias) in ((near, block.near), (far, block.far)):
        composed = Composed(weight, offset, x.size(-1), stride)
        parts.append(composed.forward(features).add_(bias.view(-1, 1, 1)))
    scale, shift = (t.view(-1, 1, 1) for t in block.pool)
    parts.append(max_of_three(pool, stride).mul_(scale).add_(shift))
    parts.append(product(x, *block.direct, stride))
    return torch.cat(parts, dim=1)


def _fake(x, graph, graph_norm, first_shortcut, temporal, shortcut, stride, eps, slope):
    frames = (x.size(3) + stride - 1) // stride
    return x.new_empty(x.size(0), graph_norm[0].size(0), x.size(2), frames)


def _autocast(x: Tensor, device: str) -> Tensor:
    """Features in autocast's type. For the native kernel they stay in float32, in which it is
    faster and exact.
    """
    if device == 'cpu' and native.kernels('folded_block', x) is not None:
        return x
    return narrowed(x, torch.get_autocast_dtype(device))


OPERATOR = define(_inference_block, _fake, features=['x'], autocast=_autocast)
