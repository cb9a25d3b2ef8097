"""Grouped 1x1 convolution: one product for each group and instance, with the cast of the weight,
the bias and the stride inside.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .. import pointwise as default
from .common import (
    PROCESSORS,
    ceil_div,
    multiply,
    multiply_add,
    narrow,
    power,
    precision,
    shared_memory,
    supported,
    values_of,
)
from .sums import sum_parts

#: Tiles of features that a product, and the gradient of a weight, have in shared memory at a time.
STAGES, WEIGHT_STAGES = 3, 4


@triton.jit
def _pairs(x, PAIRS: tl.constexpr):
    """With PAIRS, two values of 16 bits as one number: with one of two frames of each pair."""
    if PAIRS:
        x = x.to(tl.pointer_type(tl.int32))
    return x


@triton.jit
def _first(pair, KIND: tl.constexpr):
    """The first of two values."""
    if pair.dtype == tl.int32:
        pair = pair.to(tl.int16).to(KIND, bitcast=True)
    return pair


@triton.jit
def _source(place, frames, stride, length, STRIDED: tl.constexpr):
    """Place of the input at the stride, of lines of ``length`` frames."""
    if STRIDED:
        place = place // frames * length + place % frames * stride
    return place


@triton.jit(do_not_specialize=['size'])
def _product_kernel(
    x,
    weight,
    bias,
    y,
    size,
    groups,
    out,
    depth,
    inner,
    places,
    length,
    frames,
    stride,
    row_step,
    column_step,
    HAS_BIAS: tl.constexpr,
    STRIDED: tl.constexpr,
    SPREAD: tl.constexpr,
    READS_PAIRS: tl.constexpr,
    WRITES_PAIRS: tl.constexpr,
    WHOLE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """``y[p, g, o, n] = sum_c W[g, o, c] x[p, g, c, m(n)] + b``, with ``m`` the place of a frame at
    the stride. With SPREAD the stride is that of ``y``; places between the frames get zero. With
    WHOLE a program keeps its weights for all its tiles of places. With READS_PAIRS or WRITES_PAIRS
    the stride is two, and a place stands for two frames, the second of which is not used.
    """
    kind: tl.constexpr = x.dtype.element_ty
    group = tl.program_id(1) % groups
    row = tl.program_id(1) // groups * BLOCK_O + tl.arange(0, BLOCK_O)
    column = tl.arange(0, BLOCK_C)
    weights = weight + group * out * depth + row[:, None] * row_step
    if WHOLE:
        known = (row < out)[:, None] & (column < depth)[None, :]
        whole = tl.load(weights + column[None, :] * column_step, known, 0.0)
        whole = narrow(whole.to(tl.float32), kind)
    if HAS_BIAS:
        added = tl.load(bias + group * out + row, row < out, 0.0).to(tl.float32)[:, None]
    for start in range(tl.program_id(0) * BLOCK_N, size * places, tl.num_programs(0) * BLOCK_N):
        number = start + tl.arange(0, BLOCK_N)
        inside = number < size * places
        block, place = (number // places).to(tl.int64) * groups + group, number % places
        if SPREAD:
            frame = place % frames
            source, real = place // frames * length + frame // stride, frame % stride == 0
            real = real & inside
        else:
            source, real = _source(place, frames, stride, length, STRIDED), inside
        base = _pairs(x, READS_PAIRS) + (block * depth * inner + source)[None, :]
        if WHOLE:
            some = (column < depth)[:, None] & real[None, :]
            values = tl.load(base + (column * inner)[:, None], some, 0.0)
            total = multiply(whole, _first(values, kind), PRECISION)
        else:
            total = tl.zeros((BLOCK_O, BLOCK_N), tl.float32)
            for begin in range(0, depth, BLOCK_C):
                at = begin + column
                known = (row < out)[:, None] & (at < depth)[None, :]
                w = tl.load(weights + at[None, :] * column_step, known, 0.0).to(tl.float32)
                some = (at < depth)[:, None] & real[None, :]
                values = tl.load(base + (at * inner)[:, None], some, 0.0)
                values = _first(values, kind)
                total = multiply_add(narrow(w, kind), values, total, PRECISION)
        if HAS_BIAS:
            total += added
        target = _pairs(y, WRITES_PAIRS) + (block * out * places + place)[None, :]
        written = (row < out)[:, None] & inside[None, :]
        value = narrow(total, kind)
        if WRITES_PAIRS:
            value = value.to(tl.int16, bitcast=True).to(tl.int32) & 0xFFFF
        tl.store(target + (row * places)[:, None], value, written)


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
    places,
    length,
    frames,
    stride,
    total_size,
    HAS_BIAS: tl.constexpr,
    STRIDED: tl.constexpr,
    READS_PAIRS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Sum of the outer products of a part of the places, to ``part (splits, G·O·C + G·O)``."""
    blocks = tl.cdiv(depth, BLOCK_C)
    rows = tl.cdiv(out, BLOCK_O)
    group = tl.program_id(0) // (rows * blocks)
    row = tl.program_id(0) // blocks % rows * BLOCK_O + tl.arange(0, BLOCK_O)
    column = tl.program_id(0) % blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    total = tl.zeros((BLOCK_O, BLOCK_C), tl.float32)
    # The sum is a product, too: Triton 3.6 lets the next tile overwrite one of which a product and
    # the registers read, before the product has ended.
    ones = tl.full((BLOCK_N, 16), 1.0, grad.dtype.element_ty)
    bias = tl.zeros((BLOCK_O, 16), tl.float32)
    for start in range(tl.program_id(1) * BLOCK_N, size * places, tl.num_programs(1) * BLOCK_N):
        number = start + tl.arange(0, BLOCK_N)
        inside = number < size * places
        block, place = (number // places).to(tl.int64) * groups + group, number % places
        source = _source(place, frames, stride, length, STRIDED)
        g = tl.load(
            grad + (block * out * places + place)[None, :] + (row * places)[:, None],
            (row < out)[:, None] & inside[None, :],
            0.0,
        )
        values = tl.load(
            _pairs(x, READS_PAIRS)
            + (block * depth * inner + source)[None, :]
            + (column * inner)[:, None],
            (column < depth)[:, None] & inside[None, :],
            0.0,
        )
        values = _first(values, x.dtype.element_ty)
        total = multiply_add(g, tl.trans(values), total, PRECISION)
        if HAS_BIAS:
            bias = multiply_add(g, ones, bias, PRECISION)
    to = part + tl.program_id(1).to(tl.int64) * total_size
    tl.store(
        to + (group * out + row)[:, None] * depth + column[None, :],
        total,
        (row < out)[:, None] & (column < depth)[None, :],
    )
    if HAS_BIAS:
        if tl.program_id(0) % blocks == 0:
            every = tl.sum(bias, 1) / 16  # of 16 equal columns
            tl.store(to + groups * out * depth + group * out + row, every, row < out)


def _sizes(x: Tensor, stride: int) -> tuple[int, int, int, int]:
    """Values of a channel in and out, and frames in and out."""
    inner, frames = values_of(x), x.size(-1)
    short = ceil_div(frames, stride)
    return inner, inner // frames * short, frames, short


def _takes_pairs(x: Tensor, stride: int) -> bool:
    """Whether two frames can be read or written as one number."""
    fits = stride == 2 and x.size(-1) % 2 == 0 and x.element_size() == 2
    return fits and x.data_ptr() % 4 == 0


def _launch(x, weight, bias, y, sizes, strides, **kinds: bool) -> None:
    """``sizes`` are groups, channels out and in, values of a channel in and out, and frames in and
    out; ``strides`` those of frames and of the weight's rows and columns.
    """
    groups, out, depth, inner, places, length, frames = sizes
    tiles, most = product_tiles(out, depth, x.element_size() == 2)
    if kinds['STRIDED'] or kinds['SPREAD']:
        tiles['BLOCK_N'] //= 2  # every value has an address of its own, which takes registers
    rows = groups * ceil_div(out, tiles['BLOCK_O'])
    jobs = ceil_div(x.size(0) * places, tiles['BLOCK_N'])
    splits = max(1, most // rows) if tiles['WHOLE'] else jobs
    grid = ceil_div(jobs, ceil_div(jobs, splits)), rows
    _product_kernel[grid](
        x, weight, x if bias is None else bias, y, x.size(0), groups, out, depth, inner, places,
        length, frames, *strides, HAS_BIAS=bias is not None, **kinds, PRECISION=precision(x),
        **tiles,
    )  # fmt: skip


def product_tiles(out: int, depth: int, short: bool) -> tuple[dict[str, int], int]:
    """Tiles of a product, and how many programs all processors hold at a time. With features
    of 16 bits (``short``) a program keeps all weights of its rows if they fit.
    """
    rows, columns = power(out, most=128), power(depth)
    if ceil_div(out, 64) % 2:  # blocks of 128 would be half empty
        rows = min(rows, 64)
    places, warps = (128 if columns <= 64 else 64, 4) if rows <= 64 else (64, 8)
    for ahead in (STAGES, 2):
        shared = 2 * (rows * columns + ahead * columns * places + rows * places)
        if short and columns <= 256 and shared <= shared_memory():
            held = min(16 // warps, shared_memory() // (shared + 1024)) or 1
            return dict(
                WHOLE=True, BLOCK_O=rows, BLOCK_C=columns, BLOCK_N=places, num_warps=warps,
                num_stages=ahead, maxnreg=min(248, 2048 // (warps * held) // 8 * 8),
            ), held * PROCESSORS  # fmt: skip
    rows, columns = power(out, most=64), power(depth, most=32)
    return dict(WHOLE=False, BLOCK_O=rows, BLOCK_C=columns, BLOCK_N=128), 0


def product(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """See :func:`.ops.pointwise.pointwise`."""
    if not supported(x, weight, bias) or not x.numel():
        return default._pointwise(x, weight, bias, stride)
    x, weight = x.contiguous(), weight.contiguous()
    groups, out, depth = weight.shape
    inner, places, frames, short = _sizes(x, stride)
    y = x.new_empty(x.size(0), groups * out, *x.shape[2:-1], short)
    pairs = _takes_pairs(x, stride)
    sizes = groups, out, depth, places if pairs else inner, places, frames, short
    _launch(
        x, weight, bias, y, sizes, (stride, depth, 1),
        STRIDED=stride > 1 and not pairs, SPREAD=False, READS_PAIRS=pairs, WRITES_PAIRS=False,
    )  # fmt: skip
    return y


def backward(
    grad: Tensor, x: Tensor, weight: Tensor, has_bias: bool, stride: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to x, weight and bias (empty without one)."""
    if not supported(grad, x, weight) or not x.numel():
        return default._pointwise_backward(grad, x, weight, has_bias, stride)
    grad, x, weight = grad.contiguous(), x.contiguous(), weight.contiguous()
    groups, out, depth = weight.shape
    inner, places, frames, short = _sizes(x, stride)
    grad_x = torch.empty_like(x)
    pairs = _takes_pairs(x, stride)
    sizes = groups, depth, out, places, places if pairs else inner, short, frames
    _launch(
        grad, weight, None, grad_x, sizes, (stride, 1, depth),
        STRIDED=False, SPREAD=stride > 1 and not pairs, READS_PAIRS=False, WRITES_PAIRS=pairs,
    )  # fmt: skip
    return grad_x, *weight_gradients(grad, x, weight, has_bias, stride)


def weight_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, has_bias: bool, stride: int
) -> tuple[Tensor, Tensor]:
    """Gradients to weight and bias (empty without one), given contiguous features."""
    groups, out, depth = weight.shape
    inner, places, frames, short = _sizes(x, stride)
    pairs = _takes_pairs(x, stride)
    grad_weight = torch.empty_like(weight)
    grad_bias = weight.new_empty(groups * out if has_bias else 0)
    tiles, most = weight_tiles(x, out, depth)
    jobs = groups * ceil_div(out, tiles['BLOCK_O']) * ceil_div(depth, tiles['BLOCK_C'])
    splits = max(1, min(most // jobs, ceil_div(x.size(0) * places, tiles['BLOCK_N'])))
    sums = groups * out * (depth + has_bias)
    part = x.new_empty(splits, sums, dtype=torch.float32)
    _weight_kernel[(jobs, splits)](
        grad, x, part, x.size(0), groups, out, depth, places if pairs else inner, places, frames,
        short, stride, sums, HAS_BIAS=has_bias, STRIDED=stride > 1 and not pairs,
        READS_PAIRS=pairs, PRECISION=precision(x), **tiles,
    )  # fmt: skip
    outputs = [grad_weight, grad_bias] if has_bias else [grad_weight]
    sum_parts(part, outputs, [1] * len(outputs))
    return grad_weight, grad_bias


def weight_tiles(x: Tensor, out: int, depth: int) -> tuple[dict[str, int], int]:
    """Tiles of a weight's gradient, and how many programs all processors hold at a time."""
    if x.dtype == torch.float32:
        rows, columns = power(out, most=64), power(depth, most=64)
        return dict(BLOCK_O=rows, BLOCK_C=columns, BLOCK_N=64), 4 * PROCESSORS
    rows, columns = power(out, most=128), power(depth, most=128)
    held = 1 if rows * columns > 64 * 64 else 2 if rows * columns > 64 * 32 else 4
    fits = 2 * WEIGHT_STAGES * 64 * (rows + columns) <= shared_memory()
    tiles = dict(BLOCK_O=rows, BLOCK_C=columns, BLOCK_N=64, num_stages=WEIGHT_STAGES if fits else 2)
    return tiles | dict(num_warps=8 if held == 1 else 4), held * PROCESSORS
