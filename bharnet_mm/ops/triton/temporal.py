"""DeGCN's temporal branches: norm, activation and all four branches in one kernel after the
statistics.

A deformable convolution samples the frames when it reads them. So no kernel is composed, and no
shape depends on the learned offsets.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import temporal as default
from ..norm_act import given_statistics
from . import norm_act
from .common import (
    SPLITS,
    Finish,
    ceil_div,
    finish_operands,
    moments,
    most_splits,
    power,
    precision,
    supported,
)
from .sums import sum_parts
from .temporal_gradients import features_kernel, parameters_kernel
from .temporal_kernels import forward_kernel

#: Most channels of a branch that the kernels take.
MOST_CHANNELS = 128

#: Values of a tile, of 16 bits and of float32.
TILE, WIDE_TILE = 8192, 2048

#: Warps of a program, and registers of a thread with 16 bits.
WARPS, REGISTERS = 8, 128


def _takes(u: Tensor, near_weight: Tensor, far_weight: Tensor, *others: Tensor) -> bool:
    fits = near_weight.shape == far_weight.shape and len(near_weight) <= MOST_CHANNELS
    return fits and supported(u, near_weight, *others, programs=u.size(0)) and u.numel() > 0


def _tiles(u: Tensor, near_weight: Tensor, short: int) -> dict:
    """Sizes of a tile: all channels of a branch, up to 64 frames, and as many lines as make it
    ``TILE`` values. With 16 bits, a processor holds two programs at a time.
    """
    block = power(len(near_weight))
    frames, targets = power(u.size(3), most=64), power(short, most=64)
    wide = u.dtype == torch.float32
    lines = max(1, (WIDE_TILE if wide else TILE) // (block * frames))
    return dict(
        ETA=near_weight.size(2), PRECISION=precision(u), BLOCK_Q=block, LINES=lines,
        BLOCK_T=frames, BLOCK_S=targets, num_warps=WARPS, num_stages=1,
        **({} if wide else dict(maxnreg=REGISTERS)),
    )  # fmt: skip


def forward(
    u: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    near_weight: Tensor,
    near_offset: Tensor,
    far_weight: Tensor,
    far_offset: Tensor,
    rows: Tensor | None,
    eps: float,
    stride: int,
    slope: float,
    stats: Tensor | None = None,
    finish: Finish | None = None,
) -> tuple[Tensor, Tensor]:
    """Branches ``(P, 4Q, V, T')`` and statistics ``(3, 3Q)``; ``stats`` are given statistics. With
    ``finish`` the branches are normalised and activated, see :class:`Finish`.
    """
    weights = near_weight, near_offset, far_weight, far_offset
    if not _takes(u, near_weight, far_weight, weight, bias):
        if stats is not None:
            mean, variance = stats[0], stats[2]
        z, stats = default._temporal_branches(
            u, weight, bias, mean, variance, *weights, rows, eps, stride, slope
        )
        return z if finish is None else finish.by_torch(z), stats
    u, weights = u.contiguous(), [w.contiguous() for w in weights]
    size, _, joints, frames = u.shape
    quarter, short = len(near_weight), ceil_div(frames, stride)
    z, part = u.new_empty(*u.shape[:3], short), u
    by_batch = mean is None and stats is None
    if by_batch:
        part = moments(u, 3 * quarter, rows)
        stats = u.new_empty(3, 3 * quarter, dtype=torch.float32)
    elif stats is None:
        stats = given_statistics(mean, variance, eps)
    tiles = _tiles(u, near_weight, short)
    grid = ceil_div(size * joints, tiles['LINES']) * ceil_div(short, tiles['BLOCK_S']), 3
    after, kinds = finish_operands(finish, u)
    forward_kernel[grid](
        u, weight, bias, *weights, part, stats, u if rows is None else rows, z, *after, size,
        quarter, joints, frames, short, stride, part.size(1), eps, slope,
        **kinds, BY_BATCH=by_batch, HAS_ROWS=rows is not None, SPLITS=most_splits(3 * quarter),
        **tiles,
    )  # fmt: skip
    return z, stats


def backward(
    grad: Tensor,
    u: Tensor,
    stats: Tensor,
    weight: Tensor,
    bias: Tensor,
    near_weight: Tensor,
    near_offset: Tensor,
    far_weight: Tensor,
    far_offset: Tensor,
    rows: Tensor | None,
    by_batch: bool,
    stride: int,
    slope: float,
) -> tuple[Tensor, ...]:
    """Gradients to u, to weight and bias of the norm, and to weight and offset of near and far
    branch.
    """
    weights = near_weight, near_offset, far_weight, far_offset
    if not _takes(u, near_weight, far_weight, weight, bias):
        return default._temporal_branches_backward(
            grad, u, stats, weight, bias, *weights, rows, by_batch, stride, slope
        )
    grad, u, weights = grad.contiguous(), u.contiguous(), [w.contiguous() for w in weights]
    size, _, joints, frames = u.shape
    quarter, short, eta = len(near_weight), grad.size(3), near_weight.size(2)
    sizes = size, quarter, joints, frames, short, stride, slope
    some = u if rows is None else rows
    operands = grad, u, stats, weight, bias, *weights, some
    options = dict(HAS_ROWS=rows is not None, **_tiles(u, near_weight, short))
    lines = ceil_div(size * joints, options['LINES'])
    parts = ceil_div(frames, options['BLOCK_T']), ceil_div(short, options['BLOCK_S'])

    jobs = lines * parts[0]
    splits = ceil_div(jobs, ceil_div(jobs, 4 * SPLITS))
    grad_u, sums = torch.empty_like(u), u.new_empty(2, splits, 3 * quarter, dtype=torch.float32)
    features_kernel[(4, splits)](*operands, grad_u, sums, *sizes, **options)

    length = 2 * quarter * quarter * eta + 2 * eta
    # Half as many lines, but at least 128 rows, since more is summed up at a time.
    block, tile = options['BLOCK_Q'], options['LINES']
    options['LINES'] = tile = max(ceil_div(tile, 2), min(tile, 128 // block))
    options['GROUPS'] = tile if block == 16 else 1
    lines = ceil_div(size * joints, tile)
    pairs = parts[0] * parts[1]
    splits = pairs * ceil_div(lines, ceil_div(lines, max(1, SPLITS // pairs)))
    part = u.new_empty(splits, length, dtype=torch.float32)
    parameters_kernel[(2 * eta, splits)](*operands, part, *sizes, length, **options)

    grad_weight, grad_bias = norm_act.apply(
        grad_u, u, None, weight, stats, sums, grad_u, rows, by_batch, slope
    )
    near, far = torch.empty_like(weights[0]), torch.empty_like(weights[2])
    offsets = torch.empty_like(weights[1]), torch.empty_like(weights[3])
    sum_parts(part, [near, far, *offsets], [1] * 4)
    return grad_u, grad_weight, grad_bias, near, offsets[0], far, offsets[1]
