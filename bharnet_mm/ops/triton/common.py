"""Common code of the Triton kernels: sizes of tiles, precision of products, and statistics of a
channel.

No kernel is tuned at run time. So nothing is measured while a CUDA graph is recorded, and each
kernel is compiled once for each block of the network. Sizes of tiles depend on channels, joints and
frames but not on the number of instances, and Triton does not specialise on that number. So another
batch needs no compilation.
"""

from __future__ import annotations

import math
import os
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

#: Types of features that the kernels support; torch computes others.
TYPES = (torch.float32, torch.bfloat16, torch.float16)

#: Processors of an H100 or H200.
PROCESSORS = 132

#: Number of parts of a sum over instances, enough for all processors.
SPLITS = 64

#: Most programs of a norm's kernel: eight for each processor.
PROGRAMS = 8 * PROCESSORS

#: Values of a channel that a program of a norm reads at a time, over the instances: 16 for each
#: thread.
BLOCK = 2048

#: Triton's interpreter multiplies the bits of bfloat16 as if they were integers, and truncates to
#: it. In the interpreter, factors are therefore converted to float32, which changes no product, and
#: values are rounded.
INTERPRETED = tl.constexpr(os.environ.get('TRITON_INTERPRET') == '1')


def power(number: int, least: int = 16, most: int | None = None) -> int:
    """The least power of two that is not below ``number``, between ``least`` and ``most``."""
    size = max(least, 1 << (number - 1).bit_length())
    return size if most is None else min(size, most)


def ceil_div(number: int, size: int) -> int:
    """How many parts of a size a number has. Triton's own takes ten times as long on the host."""
    return -(-number // size)


def precision(x: Tensor) -> str:
    """How float32 products are computed: to float32's precision in three products of TF32, unless
    torch itself may use a single one.

    Products in float32 itself, without the matrix units, needed more shared memory than a program
    has, and spilled ten times as many registers.
    """
    if x.dtype != torch.float32:
        return 'ieee'
    # Not `allow_tf32`, which raises an error once the setting of this name was used.
    tf32 = torch.backends.cuda.matmul.fp32_precision == 'tf32'
    return exact('tf32' if tf32 else 'tf32x3')


@cache
def exact(kind: str) -> str:
    """A kind of TF32, or float32 itself on a GPU without TF32."""
    old = torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0)
    return 'ieee' if old else kind


@cache
def shared_memory() -> int:
    """Bytes of shared memory that a program may have: of an H100 without a GPU."""
    if not torch.cuda.is_available():
        return 227 * 1024
    return torch.cuda.get_device_properties(0).shared_memory_per_block_optin


#: Most programs along the second and third axis of a grid, which CUDA bounds.
MOST_PROGRAMS = 65535


def supported(*tensors: Tensor | None, programs: int = 1) -> bool:
    """Whether all are of types that the kernels take, and ``programs`` fit on an axis."""
    if programs > MOST_PROGRAMS:
        return False
    for t in tensors:
        if t is not None and t.dtype not in TYPES:
            return False
    return True


class Finish(NamedTuple):
    """What follows an operator at inference: ``act(scale · y + shift + residual)``.

    Attributes:
        scale (Tensor): ``(C,)``, with ``shift`` a batch norm that uses its running statistics.
        shift (Tensor): ``(C,)``.
        residual (Tensor, optional): Like the output, contiguous.
        slope (float): Of the LeakyReLU.
    """

    scale: Tensor
    shift: Tensor
    residual: Tensor | None
    slope: float

    def by_torch(self, y: Tensor) -> Tensor:
        """The same for sizes that the kernels do not take, ``(P, C, V, T)``."""
        scale, shift = (t.view(-1, 1, 1) for t in (self.scale, self.shift))
        y = (y * scale + shift).to(y.dtype)
        return F.leaky_relu_(y if self.residual is None else y + self.residual, self.slope)


def finish_operands(finish: Finish | None, like: Tensor) -> tuple[tuple, dict[str, bool]]:
    """Operands and constants of a kernel that may finish; ``like`` stands for those it has not."""
    if finish is None:
        return (like, like, like, 1.0), dict(FINISH=False, ADDS=False)
    adds = finish.residual is not None
    residual = finish.residual if adds else like
    return (finish.scale, finish.shift, residual, finish.slope), dict(FINISH=True, ADDS=adds)


@triton.jit
def narrow(value, KIND: tl.constexpr):
    """Float32 values in another type, rounded to the nearest: the interpreter would truncate to
    bfloat16.
    """
    if INTERPRETED:
        if KIND == tl.bfloat16:
            bits = value.to(tl.int32, bitcast=True)
            bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & -65536
            value = bits.to(tl.float32, bitcast=True)
    return value.to(KIND)


@triton.jit
def multiply(left, right, PRECISION: tl.constexpr):
    """Product of two matrices, or of two batches of them, in float32."""
    if INTERPRETED:
        left, right = left.to(tl.float32), right.to(tl.float32)
    return tl.dot(left, right, input_precision=PRECISION)


@triton.jit
def multiply_add(left, right, total, PRECISION: tl.constexpr):
    """``total`` plus the product of two matrices, or of two batches of them."""
    if INTERPRETED:
        left, right = left.to(tl.float32), right.to(tl.float32)
    return tl.dot(left, right, total, input_precision=PRECISION)


@triton.jit
def activate(x, slope):
    """LeakyReLU."""
    return tl.where(x > 0, x, x * slope)


@triton.jit
def count_rows(rows, size, HAS_ROWS: tl.constexpr):
    """Number of instances without padding."""
    if HAS_ROWS:
        number = tl.load(rows).to(tl.int32)
    else:
        number = size
    return number


@triton.jit
def merge_moments(part, channel, mask, channels, splits, SPLITS: tl.constexpr):
    """Mean, biased variance and count of some channels from the parts ``(3, splits, C)`` of count,
    mean and sum of squared deviations (Chan et al., 1979).
    """
    split = tl.arange(0, SPLITS)
    place = split[None, :] * channels + channel[:, None]
    some = mask[:, None] & (split < splits)[None, :]
    count = tl.load(part + place, some, 0.0)
    mean = tl.load(part + splits * channels + place, some, 0.0)
    squares = tl.load(part + 2 * splits * channels + place, some, 0.0)
    total = tl.sum(count, 1)
    safe = tl.maximum(total, 1.0)
    centre = tl.sum(count * mean, 1) / safe
    away = mean - centre[:, None]
    variance = tl.sum(squares + count * away * away, 1) / safe
    return centre, variance, total


@triton.jit
def store_moments(stats, channel, mask, channels, mean, deviation, variance, count):
    """Mean, ``1 / sqrt(variance + eps)`` and unbiased variance to ``stats (3, C)``."""
    unbiased = variance * count / tl.maximum(count - 1.0, 1.0)
    tl.store(stats + channel, mean, mask)
    tl.store(stats + channels + channel, deviation, mask)
    tl.store(stats + 2 * channels + channel, unbiased, mask)


@triton.jit
def places_of(start, channel, stride, length, BLOCK: tl.constexpr):
    """Numbers of consecutive values of a channel over all instances, and their places."""
    number = start + tl.arange(0, BLOCK)
    instance = (number // length).to(tl.int64)
    return number, instance * stride + (channel * length + number % length)


@triton.jit
def eighths(values, BLOCK: tl.constexpr):
    """Sums of eight neighbours, which one thread has: sums over a loop then need few registers."""
    return tl.sum(tl.reshape(values, (BLOCK // 8, 8)), 1)


@triton.jit(do_not_specialize=['size'])
def moments_kernel(
    x,
    part,
    rows,
    size,
    channels,
    stride,
    length,
    HAS_ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Count, mean and sum of squared deviations of a channel over every ``splits``-th block of its
    values.

    The mean of the first block is subtracted before summing, so a large mean does not reduce the
    precision.
    """
    channel, split, splits = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    number = count_rows(rows, size, HAS_ROWS) * length
    at, where = places_of(split * BLOCK, channel, stride, length, BLOCK)
    values = tl.load(x + where, at < number, 0.0).to(tl.float32)
    filled = tl.minimum(tl.maximum(number - split * BLOCK, 0), BLOCK)
    pivot = tl.sum(values) / tl.maximum(filled, 1)
    away = tl.where(at < number, values - pivot, 0.0)
    first, second = eighths(away, BLOCK), eighths(away * away, BLOCK)
    count = filled * 1.0
    for start in range((split + splits) * BLOCK, number, splits * BLOCK):
        at, where = places_of(start, channel, stride, length, BLOCK)
        away = tl.load(x + where, at < number, 0.0).to(tl.float32) - pivot
        away = tl.where(at < number, away, 0.0)
        first += eighths(away, BLOCK)
        second += eighths(away * away, BLOCK)
        count += tl.minimum(number - start, BLOCK)
    safe = tl.maximum(count, 1.0)
    shift = tl.sum(first) / safe
    squares = tl.sum(second) - shift * shift * safe
    out = part + split * channels + channel
    tl.store(out, count)
    tl.store(out + splits * channels, pivot + shift)
    tl.store(out + 2 * splits * channels, tl.maximum(squares, 0.0))


def values_of(x: Tensor) -> int:
    """Values of a channel of an instance of ``x (P, C, *)``. Indexing takes more time."""
    return math.prod(x.shape[2:])


def most_splits(channels: int) -> int:
    """Power of two that no number of parts of :func:`splits_of` is above."""
    return power(max(1, min(SPLITS, PROGRAMS // channels)), least=1)


def splits_of(values: int, channels: int) -> int:
    """Number of parts of a sum over the values of a channel: all programs run at a time, and each
    has as much work as the others.
    """
    blocks = ceil_div(values, BLOCK)
    most = max(1, min(SPLITS, blocks, PROGRAMS // channels))
    return ceil_div(blocks, ceil_div(blocks, most))


def moments(x: Tensor, channels: int, rows: Tensor | None) -> Tensor:
    """Parts ``(3, splits, C)`` of the statistics of the first ``channels`` of contiguous ``x (P,
    *)``.
    """
    size, stride = x.size(0), x.stride(0)
    length = values_of(x)
    splits = splits_of(size * length, channels)
    part = x.new_empty(3, splits, channels, dtype=torch.float32)
    moments_kernel[(channels, splits)](
        x, part, x if rows is None else rows, size, channels, stride, length,
        HAS_ROWS=rows is not None, BLOCK=BLOCK,
    )  # fmt: skip
    return part
