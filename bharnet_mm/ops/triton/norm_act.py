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
    SPLITS,
    activate,
    count_rows,
    merge_moments,
    moments,
    narrow,
    splits_of,
    store_moments,
    supported,
    tile,
    values_of,
)


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
    BLOCK_P: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    number = count_rows(rows, size, HAS_ROWS)
    channel = tl.program_id(0) + tl.arange(0, 1)
    every = channel < channels
    if BY_BATCH:
        mean, variance, count = merge_moments(part, channel, every, channels, splits, SPLITS)
        deviation = tl.where(count > 0, tl.rsqrt(variance + eps), 0.0)
        if tl.program_id(1) == 0:
            store_moments(stats, channel, every, channels, mean, deviation, variance, count)
    else:
        mean = tl.load(stats + channel).to(tl.float32)
        deviation = tl.load(stats + channels + channel).to(tl.float32)
    scale = deviation * tl.load(weight + channel).to(tl.float32)
    shift = tl.load(bias + channel).to(tl.float32) - mean * scale
    scale, shift = scale[:, None], shift[:, None]
    place = tl.arange(0, BLOCK_M)
    for start in range(tl.program_id(1) * BLOCK_P, size, tl.num_programs(1) * BLOCK_P):
        at = start + tl.arange(0, BLOCK_P)
        row = (at.to(tl.int64) * channels + tl.program_id(0)) * length
        for begin in range(0, length, BLOCK_M):
            along = begin + place
            inside = (at < size)[:, None] & (along < length)[None, :]
            where = row[:, None] + along[None, :]
            real = inside & (at < number)[:, None]
            value = tl.load(x + where, real, 0.0).to(tl.float32) * scale + shift
            if ADDS:
                value += tl.load(residual + where, real, 0.0).to(tl.float32)
            value = tl.where(real, activate(value, slope), 0.0)
            tl.store(y + where, narrow(value, y.dtype.element_ty), inside)


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
    BLOCK_P: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Sums of a channel's gradient and of its product with the normalised values, to ``part (2,
    splits, C)``. With WRITES the gradient before the activation, to ``inner_grad``.
    """
    channel, split, splits = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    number = count_rows(rows, size, HAS_ROWS)
    mean = tl.load(stats + channel).to(tl.float32)
    deviation = tl.load(stats + channels + channel).to(tl.float32)
    place = tl.arange(0, BLOCK_M)
    first = tl.zeros((BLOCK_P, BLOCK_M), tl.float32)
    second = tl.zeros((BLOCK_P, BLOCK_M), tl.float32)
    end = size if WRITES else number  # of padding it is zero
    for start in range(split * BLOCK_P, end, splits * BLOCK_P):
        at = start + tl.arange(0, BLOCK_P)
        row = (at.to(tl.int64) * channels + channel) * length
        for begin in range(0, length, BLOCK_M):
            along = begin + place
            inside = (at < size)[:, None] & (along < length)[None, :]
            real = inside & (at < number)[:, None]
            where = row[:, None] + along[None, :]
            inner = tl.load(grad + where, real, 0.0).to(tl.float32)
            if ACTS:
                sign = tl.load(y + where, real, 0.0).to(tl.float32)
                inner = tl.where(sign > 0, inner, inner * slope)
            if WRITES:
                tl.store(inner_grad + where, narrow(inner, inner_grad.dtype.element_ty), inside)
            first += inner
            second += inner * (tl.load(x + where, real, 0.0).to(tl.float32) - mean) * deviation
    tl.store(part + split * channels + channel, tl.sum(first))
    tl.store(part + (splits + split) * channels + channel, tl.sum(second))


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
    BLOCK_P: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Gradients of a channel, given its sums. All features have the stride ``stride`` between
    instances; ``grad_x`` may be ``grad``.
    """
    number = count_rows(rows, size, HAS_ROWS)
    channel = tl.program_id(0)
    split = tl.arange(0, SPLITS)
    first = tl.load(part + split * channels + channel, split < splits, 0.0)
    second = tl.load(part + (splits + split) * channels + channel, split < splits, 0.0)
    total, product = tl.sum(first), tl.sum(second)
    if tl.program_id(1) == 0:
        tl.store(grad_bias + channel, total)
        tl.store(grad_weight + channel, product)
    mean = tl.load(stats + channel).to(tl.float32)
    deviation = tl.load(stats + channels + channel).to(tl.float32)
    scale = tl.load(weight + channel).to(tl.float32) * deviation
    share = 1.0 / tl.maximum(number * length * 1.0, 1.0)
    place = tl.arange(0, BLOCK_M)
    for start in range(tl.program_id(1) * BLOCK_P, size, tl.num_programs(1) * BLOCK_P):
        at = start + tl.arange(0, BLOCK_P)
        row = at.to(tl.int64) * stride + channel * length
        for begin in range(0, length, BLOCK_M):
            along = begin + place
            inside = (at < size)[:, None] & (along < length)[None, :]
            where = row[:, None] + along[None, :]
            real = inside & (at < number)[:, None]
            inner = tl.load(grad + where, real, 0.0).to(tl.float32)
            if ACTS:
                sign = tl.load(y + where, real, 0.0).to(tl.float32)
                inner = tl.where(sign > 0, inner, inner * slope)
            if BY_BATCH:
                direction = (tl.load(x + where, real, 0.0).to(tl.float32) - mean) * deviation
                inner = inner - (total + direction * product) * share
            value = tl.where(real, inner * scale, 0.0)
            tl.store(grad_x + where, narrow(value, grad_x.dtype.element_ty), inside)


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
    y, shape, part = torch.empty_like(x), tile(length), x
    by_batch = mean is None
    if by_batch:
        part = moments(x, channels, rows)
        stats = x.new_empty(3, channels, dtype=torch.float32)
    else:
        stats = default.given_statistics(mean, variance, eps)
    grid = channels, splits_of(size, channels, shape['BLOCK_P'])
    _forward_kernel[grid](
        x, x if residual is None else residual, y, weight, bias, part, stats,
        x if rows is None else rows, size, channels, length, part.size(1), eps, slope,
        BY_BATCH=by_batch, ADDS=residual is not None, HAS_ROWS=rows is not None,
        SPLITS=SPLITS, **shape,
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
    shape = tile(length)
    splits = splits_of(size, channels, shape['BLOCK_P'])
    part = x.new_empty(2, splits, channels, dtype=torch.float32)
    _sums_kernel[(channels, splits)](
        grad, x, x if y is None else y, stats, part, x if inner_grad is None else inner_grad,
        x if rows is None else rows, size, channels, length, slope, ACTS=y is not None,
        WRITES=inner_grad is not None, HAS_ROWS=rows is not None, **shape,
    )  # fmt: skip
    return part


def apply(grad, x, y, weight, stats, part, grad_x, rows, by_batch, slope) -> tuple[Tensor, Tensor]:
    """Writes the gradient of the features, of as many channels as ``part`` has; returns those of
    weight and bias.
    """
    channels, size, length = part.size(2), x.size(0), values_of(x)
    shape = tile(length)
    grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(weight)
    grid = channels, splits_of(size, channels, shape['BLOCK_P'])
    backward_kernel[grid](
        grad, x, x if y is None else y, weight, stats, part, grad_x, grad_weight, grad_bias,
        x if rows is None else rows, size, channels, x.stride(0), length, part.size(1), slope,
        BY_BATCH=by_batch, ACTS=y is not None, HAS_ROWS=rows is not None,
        SPLITS=SPLITS if part.size(1) <= SPLITS else 4 * SPLITS, **shape,
    )  # fmt: skip
    return grad_weight, grad_bias
