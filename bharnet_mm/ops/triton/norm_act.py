"""Batch norm + shortcut + LeakyReLU: two passes forward, two backward, each sum split over many
programs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .. import norm_act as default
from .common import (
    BLOCK,
    SPLITS,
    activate,
    count_rows,
    eighths,
    moments,
    narrow,
    places_of,
    splits_of,
    store_moments,
    supported,
    values_of,
)

#: How the cache treats features that no kernel soon needs again: what others need stays longer.
ONCE = tl.constexpr('evict_first')


@triton.jit
def _merged(part, channel, channels, splits, SPLITS: tl.constexpr):
    """:func:`merge_moments` of one channel. With a single number no layout has to be converted."""
    split = tl.arange(0, SPLITS)
    at = part + split * channels + channel
    count = tl.load(at, split < splits, 0.0)
    mean = tl.load(at + splits * channels, split < splits, 0.0)
    squares = tl.load(at + 2 * splits * channels, split < splits, 0.0)
    total = tl.sum(count)
    safe = tl.maximum(total, 1.0)
    centre = tl.sum(count * mean) / safe
    away = mean - centre
    return centre, tl.sum(squares + count * away * away) / safe, total


@triton.jit(do_not_specialize=['size', 'splits'])
def _forward_kernel(
    x,
    residual,
    y,
    weight,
    bias,
    part,
    stats,
    rows,
    size,
    channels,
    length,
    splits,
    eps,
    slope,
    BY_BATCH: tl.constexpr,
    ADDS: tl.constexpr,
    HAS_ROWS: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    channel = tl.program_id(0)
    number = count_rows(rows, size, HAS_ROWS) * length
    if BY_BATCH:
        mean, variance, count = _merged(part, channel, channels, splits, SPLITS)
        deviation = tl.where(count > 0, tl.rsqrt(variance + eps), 0.0)
        if tl.program_id(1) == 0:
            store_moments(stats, channel, None, channels, mean, deviation, variance, count)
    else:
        mean = tl.load(stats + channel).to(tl.float32)
        deviation = tl.load(stats + channels + channel).to(tl.float32)
    scale = deviation * tl.load(weight + channel).to(tl.float32)
    shift = tl.load(bias + channel).to(tl.float32) - mean * scale
    # The last block first: of the pass before, its values are still in the cache.
    last = tl.cdiv(size * length, BLOCK) - 1
    for block in range(tl.program_id(1), last + 1, tl.num_programs(1)):
        start = (last - block) * BLOCK
        at, where = places_of(start, channel, channels * length, length, BLOCK)
        real = at < number
        value = tl.load(x + where, real, 0.0, eviction_policy=ONCE).to(tl.float32)
        value = value * scale + shift
        if ADDS:
            value += tl.load(residual + where, real, 0.0, eviction_policy=ONCE).to(tl.float32)
        value = tl.where(real, activate(value, slope), 0.0)
        tl.store(y + where, narrow(value, y.dtype.element_ty), at < size * length)


@triton.jit(do_not_specialize=['size'])
def _sums_kernel(
    grad,
    x,
    y,
    stats,
    part,
    inner_grad,
    rows,
    size,
    channels,
    length,
    slope,
    ACTS: tl.constexpr,
    WRITES: tl.constexpr,
    HAS_ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sums of a channel's gradient and of its product with the normalised values, to ``part (2,
    splits, C)``. With WRITES the gradient before the activation, to ``inner_grad``.
    """
    channel, split, splits = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    number = count_rows(rows, size, HAS_ROWS) * length
    mean = tl.load(stats + channel).to(tl.float32)
    first = tl.zeros((BLOCK // 8,), tl.float32)
    second = tl.zeros((BLOCK // 8,), tl.float32)
    end = size * length if WRITES else number  # of padding it is zero
    for start in range(split * BLOCK, end, splits * BLOCK):
        at, where = places_of(start, channel, channels * length, length, BLOCK)
        real = at < number
        inner = tl.load(grad + where, real, 0.0, eviction_policy=ONCE).to(tl.float32)
        away = tl.load(x + where, real, 0.0).to(tl.float32) - mean
        if ACTS:
            sign = tl.load(y + where, real, 0.0, eviction_policy=ONCE).to(tl.float32)
            inner = tl.where(sign > 0, inner, inner * slope)
        if WRITES:
            tl.store(inner_grad + where, narrow(inner, inner_grad.dtype.element_ty), at < end)
        first += eighths(inner, BLOCK)
        second += eighths(inner * away, BLOCK)
    deviation = tl.load(stats + channels + channel).to(tl.float32)
    tl.store(part + split * channels + channel, tl.sum(first))
    tl.store(part + (splits + split) * channels + channel, tl.sum(second) * deviation)


@triton.jit(do_not_specialize=['size', 'splits'])
def backward_kernel(
    grad,
    x,
    y,
    weight,
    stats,
    part,
    grad_x,
    grad_weight,
    grad_bias,
    rows,
    size,
    channels,
    stride,
    length,
    splits,
    slope,
    BY_BATCH: tl.constexpr,
    ACTS: tl.constexpr,
    HAS_ROWS: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradients of a channel, given its sums. All features have the stride ``stride`` between
    instances; ``grad_x`` may be ``grad``.
    """
    rows_real = count_rows(rows, size, HAS_ROWS)
    channel = tl.program_id(0)
    split = tl.arange(0, SPLITS)
    first = tl.load(part + split * channels + channel, split < splits, 0.0)
    second = tl.load(part + (splits + split) * channels + channel, split < splits, 0.0)
    total, product = tl.sum(first), tl.sum(second)
    if tl.program_id(1) == 0:
        tl.store(grad_bias + channel, total)
        tl.store(grad_weight + channel, product)
    number = rows_real * length
    mean = tl.load(stats + channel).to(tl.float32)
    deviation = tl.load(stats + channels + channel).to(tl.float32)
    scale = tl.load(weight + channel).to(tl.float32) * deviation
    share = 1.0 / tl.maximum(number * 1.0, 1.0)
    last = tl.cdiv(size * length, BLOCK) - 1
    for block in range(tl.program_id(1), last + 1, tl.num_programs(1)):
        start = (last - block) * BLOCK
        at, where = places_of(start, channel, stride, length, BLOCK)
        real = at < number
        inner = tl.load(grad + where, real, 0.0).to(tl.float32)
        if ACTS:
            sign = tl.load(y + where, real, 0.0, eviction_policy=ONCE).to(tl.float32)
            inner = tl.where(sign > 0, inner, inner * slope)
        if BY_BATCH:
            away = tl.load(x + where, real, 0.0, eviction_policy=ONCE).to(tl.float32) - mean
            direction = away * deviation
            inner = inner - (total + direction * product) * share
        value = tl.where(real, inner * scale, 0.0)
        tl.store(grad_x + where, narrow(value, grad_x.dtype.element_ty), at < size * length)


def forward(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    rows: Tensor | None,
    eps: float,
    slope: float,
) -> tuple[Tensor, Tensor]:
    """Output like ``x (P, C, *)`` and statistics ``(3, C)``: mean, ``1 / sqrt(variance + eps)`` and
    unbiased variance.
    """
    if not supported(x, residual, weight, bias) or not x.numel():
        return default._norm_act(x, residual, weight, bias, mean, variance, rows, eps, slope)
    x, residual = (t if t is None else t.contiguous() for t in (x, residual))
    size, channels, length = x.size(0), x.size(1), values_of(x)
    y, part = torch.empty_like(x), x
    by_batch = mean is None
    if by_batch:
        part = moments(x, channels, rows)
        stats = x.new_empty(3, channels, dtype=torch.float32)
    else:
        stats = default.given_statistics(mean, variance, eps)
    grid = channels, splits_of(size * length, channels)
    _forward_kernel[grid](
        x, x if residual is None else residual, y, weight, bias, part, stats,
        x if rows is None else rows, size, channels, length, part.size(1), eps, slope,
        BY_BATCH=by_batch, ADDS=residual is not None, HAS_ROWS=rows is not None,
        SPLITS=SPLITS, BLOCK=BLOCK,
    )  # fmt: skip
    return y, stats


def backward(
    grad: Tensor,
    x: Tensor,
    y: Tensor | None,
    weight: Tensor,
    stats: Tensor,
    rows: Tensor | None,
    by_batch: bool,
    adds: bool,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients to x, the shortcut (empty if it equals that of the output), weight and bias."""
    if not supported(grad, x, weight) or not x.numel():
        return default._norm_act_backward(grad, x, y, weight, stats, rows, by_batch, adds, slope)
    grad, x, y = (t if t is None else t.contiguous() for t in (grad, x, y))
    passes = adds and y is not None  # otherwise the shortcut's gradient is that of the output
    grad_x = torch.empty_like(x)
    grad_residual = torch.empty_like(x) if passes else x.new_empty(0)
    part = sums(grad, x, y, stats, rows, slope, grad_residual if passes else None)
    inner, y = (grad_residual, None) if passes else (grad, y)
    grads = apply(inner, x, y, weight, stats, part, grad_x, rows, by_batch, slope)
    return grad_x, grad_residual, *grads


def sums(grad, x, y, stats, rows, slope, inner_grad: Tensor | None) -> Tensor:
    """Parts ``(2, splits, C)`` of the sums that the gradient needs. Also writes the gradient before
    the activation, which is the shortcut's.
    """
    size, channels, length = x.size(0), x.size(1), values_of(x)
    splits = splits_of(size * length, channels)
    part = x.new_empty(2, splits, channels, dtype=torch.float32)
    _sums_kernel[(channels, splits)](
        grad, x, x if y is None else y, stats, part, x if inner_grad is None else inner_grad,
        x if rows is None else rows, size, channels, length, slope, ACTS=y is not None,
        WRITES=inner_grad is not None, HAS_ROWS=rows is not None, BLOCK=BLOCK,
    )  # fmt: skip
    return part


def apply(grad, x, y, weight, stats, part, grad_x, rows, by_batch, slope) -> tuple[Tensor, Tensor]:
    """Writes the gradient of the features, of as many channels as ``part`` has; returns those of
    weight and bias.
    """
    channels, size, length = part.size(2), x.size(0), values_of(x)
    grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(weight)
    grid = channels, splits_of(size * length, channels)
    backward_kernel[grid](
        grad, x, x if y is None else y, weight, stats, part, grad_x, grad_weight, grad_bias,
        x if rows is None else rows, size, channels, x.stride(0), length, part.size(1), slope,
        BY_BATCH=by_batch, ACTS=y is not None, HAS_ROWS=rows is not None,
        SPLITS=SPLITS if part.size(1) <= SPLITS else 4 * SPLITS, BLOCK=BLOCK,
    )  # fmt: skip
    return grad_weight, grad_bias
