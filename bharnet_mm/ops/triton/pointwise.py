"""Grouped 1x1 convolution: one product for each group and instance, with the cast of the weight,
the bias and the stride inside.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .. import pointwise as default
from .common import ceil_div, multiply_add, narrow, power, precision, supported, values_of


@triton.jit
def _product_kernel(
    x,
    weight,
    bias,
    y,
    groups,
    out,
    depth,
    inner,
    frames,
    places,
    stride,
    row_step,
    column_step,
    HAS_BIAS: tl.constexpr,
    SPREAD: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """``y[p, g, o, n] = sum_c W[g, o, c] x[p, g, c, m(n)] + b``, with ``m`` the place of a frame at
    the stride. With SPREAD the stride is that of ``y``; places between the frames get zero.
    """
    instance, group = tl.program_id(2) // groups, tl.program_id(2) % groups
    row = tl.program_id(1) * BLOCK_O + tl.arange(0, BLOCK_O)
    place = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    frame, line = place % frames, place // frames
    if SPREAD:
        source = line * (inner // (places // frames)) + frame // stride
        real = (place < places) & (frame % stride == 0)
    else:
        source = line * (inner // (places // frames)) + frame * stride
        real = place < places
    base = x + (instance * groups + group).to(tl.int64) * depth * inner
    total = tl.zeros((BLOCK_O, BLOCK_N), tl.float32)
    for start in range(0, depth, BLOCK_C):
        column = start + tl.arange(0, BLOCK_C)
        w = tl.load(
            weight + group * out * depth + row[:, None] * row_step + column[None, :] * column_step,
            (row < out)[:, None] & (column < depth)[None, :],
            0.0,
        )
        values = tl.load(
            base + column[:, None] * inner + source[None, :],
            (column < depth)[:, None] & real[None, :],
            0.0,
        )
        w = narrow(w.to(tl.float32), values.dtype)
        total = multiply_add(w, values, total, PRECISION)
    if HAS_BIAS:
        total += tl.load(bias + group * out + row, row < out, 0.0).to(tl.float32)[:, None]
    target = y + (instance * groups + group).to(tl.int64) * out * places
    tl.store(
        target + row[:, None] * places + place[None, :],
        narrow(total, y.dtype.element_ty),
        (row < out)[:, None] & (place < places)[None, :],
    )


@triton.jit(do_not_specialize=['size'])
def _weight_kernel(
    grad,
    x,
    part,
    size,
    groups,
    out,
    depth,
    inner,
    frames,
    places,
    stride,
    total_size,
    HAS_BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Sum of the outer products of a part of the instances, to ``part (splits, G·O·C + G·O)``."""
    blocks = tl.cdiv(depth, BLOCK_C)
    rows = tl.cdiv(out, BLOCK_O)
    group = tl.program_id(0) // (rows * blocks)
    row = tl.program_id(0) // blocks % rows * BLOCK_O + tl.arange(0, BLOCK_O)
    column = tl.program_id(0) % blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    total = tl.zeros((BLOCK_O, BLOCK_C), tl.float32)
    bias = tl.zeros((BLOCK_O,), tl.float32)
    line_size = inner // (places // frames)
    tiles = tl.cdiv(places, BLOCK_N)
    for job in range(tl.program_id(1), size * tiles, tl.num_programs(1)):
        block = ((job // tiles) * groups + group).to(tl.int64)
        place = job % tiles * BLOCK_N + tl.arange(0, BLOCK_N)
        source = place // frames * line_size + place % frames * stride
        g = tl.load(
            grad + block * out * places + row[:, None] * places + place[None, :],
            (row < out)[:, None] & (place < places)[None, :],
            0.0,
        )
        values = tl.load(
            x + block * depth * inner + column[:, None] * inner + source[None, :],
            (column < depth)[:, None] & (place < places)[None, :],
            0.0,
        )
        total = multiply_add(g, tl.trans(values), total, PRECISION)
        if HAS_BIAS:
            bias += tl.sum(g.to(tl.float32), 1)
    to = part + tl.program_id(1).to(tl.int64) * total_size
    tl.store(
        to + (group * out + row)[:, None] * depth + column[None, :],
        total,
        (row < out)[:, None] & (column < depth)[None, :],
    )
    if HAS_BIAS:
        if tl.program_id(0) % blocks == 0:
            tl.store(to + groups * out * depth + group * out + row, bias, row < out)


def _sizes(x: Tensor, weight: Tensor, stride: int) -> tuple[int, int, int, int]:
    """Values of a channel in and out, and frames in and out."""
    inner, frames = values_of(x), x.size(-1)
    short = ceil_div(frames, stride)
    return inner, inner // frames * short, frames, short


def product(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """See :func:`.ops.pointwise.pointwise`."""
    if not supported(x, weight, bias, programs=x.size(0) * len(weight)) or not x.numel():
        return default._pointwise(x, weight, bias, stride)
    x, weight = x.contiguous(), weight.contiguous()
    groups, out, depth = weight.shape
    inner, places, _, short = _sizes(x, weight, stride)
    y = x.new_empty(x.size(0), groups * out, *x.shape[2:-1], short)
    blocks = dict(BLOCK_O=power(out, most=64), BLOCK_C=power(depth, most=32), BLOCK_N=128)
    grid = ceil_div(places, 128), ceil_div(out, blocks['BLOCK_O']), x.size(0) * groups
    _product_kernel[grid](
        x, weight, x if bias is None else bias, y, groups, out, depth, inner, short, places, stride,
        depth, 1, HAS_BIAS=bias is not None, SPREAD=False, PRECISION=precision(x), **blocks,
    )  # fmt: skip
    return y


def backward(
    grad: Tensor, x: Tensor, weight: Tensor, has_bias: bool, stride: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to x, weight and bias (empty without one)."""
    if not supported(grad, x, weight, programs=x.size(0) * len(weight)) or not x.numel():
        return default._pointwise_backward(grad, x, weight, has_bias, stride)
    grad, x, weight = grad.contiguous(), x.contiguous(), weight.contiguous()
    groups, out, depth = weight.shape
    inner, places, frames, short = _sizes(x, weight, stride)
    grad_x = torch.empty_like(x)
    blocks = dict(BLOCK_O=power(depth, most=64), BLOCK_C=power(out, most=32), BLOCK_N=128)
    grid = ceil_div(inner, 128), ceil_div(depth, blocks['BLOCK_O']), x.size(0) * groups
    _product_kernel[grid](
        grad, weight, grad, grad_x, groups, depth, out, places, frames, inner, stride, 1, depth,
        HAS_BIAS=False, SPREAD=True, PRECISION=precision(x), **blocks,
    )  # fmt: skip
    return grad_x, *weight_gradients(grad, x, weight, has_bias, stride)


def weight_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, has_bias: bool, stride: int
) -> tuple[Tensor, Tensor]:
    """Gradients to weight and bias (empty without one), given contiguous features."""
    groups, out, depth = weight.shape
    inner, places, _, short = _sizes(x, weight, stride)
    blocks = dict(BLOCK_O=power(out, most=64), BLOCK_C=power(depth, most=64), BLOCK_N=64)
    jobs = groups * ceil_div(out, blocks['BLOCK_O']) * ceil_div(depth, blocks['BLOCK_C'])
    # A processor holds four programs at a time.
    splits = max(1, min(528 // jobs, x.size(0) * ceil_div(places, blocks['BLOCK_N'])))
    sums = groups * out * (depth + has_bias)
    part = x.new_empty(splits, sums, dtype=torch.float32)
    _weight_kernel[(jobs, splits)](
        grad, x, part, x.size(0), groups, out, depth, inner, short, places, stride, sums,
        HAS_BIAS=has_bias, PRECISION=precision(x), **blocks,
    )  # fmt: skip
    grad_weight, grad_bias = (
        part.sum(0).to(weight.dtype).split((weight.numel(), sums - weight.numel()))
    )
    # The results of an operator share no memory.
    return (
        grad_weight.view(weight.shape).clone() if has_bias else grad_weight.view(weight.shape),
        grad_bias.clone() if has_bias else weight.new_empty(0),
    )
