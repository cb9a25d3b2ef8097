"""Kernels of the temporal branches. A tile has all channels of a branch and some frames of a few
lines; a line is one joint of one instance. Rows of a tile are (channel, line).

A deformable convolution reads a tile once. Each of its samples is a product with a small matrix of
interpolation weights along time, and a product with the weight along channels. So no element is
addressed by a learned offset, and both products run on the matrix units.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .common import (
    activate,
    count_rows,
    merge_moments,
    multiply,
    multiply_add,
    narrow,
    store_moments,
)


@triton.jit
def bounded(offset, r, frames):
    """Whole and fractional part of an offset within the clip; a fraction that is not a number stays
    so.
    """
    raw = tl.load(offset + r).to(tl.float32)
    limit = frames * 1.0
    kept = tl.where(raw > limit, limit, tl.where(raw < -limit, -limit, raw))
    whole = tl.floor(kept)
    return tl.where(whole == whole, whole, 0.0).to(tl.int32), kept - whole, tl.abs(raw) < limit


@triton.jit
def taps(offset, r, target, frames, short, stride):
    """The two frames that a sample of some output frames lies between, -1 where there is no output
    frame, and the weight of the second.
    """
    whole, fraction, _ = bounded(offset, r, frames)
    at = target * stride + whole
    inside = target < short
    first = tl.where(inside, tl.minimum(tl.maximum(at, 0), frames - 1), -1)
    second = tl.where(inside, tl.minimum(tl.maximum(at + 1, 0), frames - 1), -1)
    return first, second, fraction


@triton.jit
def blend(first, second, source, fraction):
    """Weights of the frames ``source`` in samples between the frames ``first`` and ``second``."""
    near = tl.where(source == first, 1.0 - fraction, 0.0)
    return near + tl.where(source == second, fraction, 0.0)


@triton.jit
def hidden(base, place, frame, mask, scale, shift, slope):
    """Normalised and activated values at some frames, zero outside of the mask."""
    value = tl.load(base + (place[:, None] + frame[None, :]), mask, 0.0).to(tl.float32)
    return tl.where(mask, activate(value * scale[:, None] + shift[:, None], slope), 0.0)


@triton.jit
def rows_of(line, quarter, size, joints, number, BLOCK_Q: tl.constexpr, LINES: tl.constexpr):
    """Of the rows of a tile that begins with a line: channel of the branch, first instance,
    instance counted from it, joint, and masks of rows that exist and that are no padding.
    """
    row = tl.arange(0, BLOCK_Q * LINES)
    first = line // joints
    channel, line = row // LINES, line + row % LINES
    instance = line // joints
    exists = (channel < quarter) & (instance < size)
    real = exists & (instance < number)
    return channel, first.to(tl.int64), instance - first, line % joints, exists, real


@triton.jit
def spread(value, LINES: tl.constexpr):
    """Values of channels for the rows of a tile."""
    shape: tl.constexpr = (value.shape[0], LINES)
    return tl.reshape(tl.broadcast_to(value[:, None], shape), (value.shape[0] * LINES,))


@triton.jit
def interpolate(h, along, PRECISION: tl.constexpr, KIND: tl.constexpr):
    """Product of values and weights of an interpolation in another type. With 16 bits, both are the
    sum of two numbers of the type, so that only the sample is rounded.
    """
    high, weights = narrow(h, KIND), narrow(along, KIND)
    sample = multiply(high, weights, PRECISION)
    if KIND != tl.float32:
        rest = narrow(h - high.to(tl.float32), KIND)
        sample = multiply_add(rest, weights, sample, PRECISION)
        rest = narrow(along - weights.to(tl.float32), KIND)
        sample = multiply_add(high, rest, sample, PRECISION)
    return narrow(sample, KIND)


@triton.jit
def matrix_of(kernel, r, quarter, KIND: tl.constexpr, ETA: tl.constexpr, BLOCK_Q: tl.constexpr):
    """The weight of a sample, ``(out, in)``."""
    row, column = tl.arange(0, BLOCK_Q), tl.arange(0, BLOCK_Q)
    inside = (row < quarter)[:, None] & (column < quarter)[None, :]
    w = tl.load(kernel + (row[:, None] * quarter + column[None, :]) * ETA + r, inside, 0.0)
    return narrow(w.to(tl.float32), KIND)


@triton.jit
def coefficients(weight, bias, stats, channel, mask, channels):
    """Scale and shift of a norm's channels."""
    mean = tl.load(stats + channel, mask, 0.0).to(tl.float32)
    deviation = tl.load(stats + channels + channel, mask, 0.0).to(tl.float32)
    scale = deviation * tl.load(weight + channel, mask, 0.0).to(tl.float32)
    return scale, tl.load(bias + channel, mask, 0.0).to(tl.float32) - mean * scale


@triton.jit
def finished(
    value, scale, shift, residual, channel, some, at, mask, slope, ADDS: tl.constexpr
):  # fmt: skip
    """``act(scale · value + shift + residual)``; without ADDS there is no residual."""
    factor = tl.load(scale + channel, some, 0.0).to(tl.float32)
    value = value * factor[:, None]
    value += tl.load(shift + channel, some, 0.0).to(tl.float32)[:, None]
    if ADDS:
        value += tl.load(residual + at, mask, 0.0).to(tl.float32)
    return activate(value, slope)


@triton.jit(do_not_specialize=['size', 'splits'])
def forward_kernel(
    u,
    weight,
    bias,
    near_weight,
    near_offset,
    far_weight,
    far_offset,
    part,
    stats,
    rows,
    z,
    after_scale,
    after_shift,
    residual,
    after_slope,
    size,
    quarter,
    joints,
    frames,
    short,
    stride,
    splits,
    eps,
    slope,
    FINISH: tl.constexpr,
    ADDS: tl.constexpr,
    ETA: tl.constexpr,
    BY_BATCH: tl.constexpr,
    HAS_ROWS: tl.constexpr,
    SPLITS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    LINES: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """One branch of a tile; the third program along the branches computes the last two. With FINISH
    what follows the branches, too.
    """
    block, branch = tl.program_id(0), tl.program_id(1)
    blocks = tl.cdiv(short, BLOCK_S)
    number = count_rows(rows, size, HAS_ROWS)
    channels = 3 * quarter
    own = tl.arange(0, BLOCK_Q)
    some = own < quarter
    own += branch * quarter
    if BY_BATCH:
        mean, variance, count = merge_moments(part, own, some, channels, splits, SPLITS)
        deviation = tl.where(count > 0, tl.rsqrt(variance + eps), 0.0)
        if block == 0:
            store_moments(stats, own, some, channels, mean, deviation, variance, count)
        scale = deviation * tl.load(weight + own, some, 0.0).to(tl.float32)
        shift = tl.load(bias + own, some, 0.0).to(tl.float32) - mean * scale
    else:
        scale, shift = coefficients(weight, bias, stats, own, some, channels)
    inner, outer = joints * frames, joints * short
    target = block % blocks * BLOCK_S + tl.arange(0, BLOCK_S)
    kind = z.dtype.element_ty
    line = block // blocks * LINES
    if branch < 2:
        if branch == 0:
            kernel, offset = near_weight, near_offset
        else:
            kernel, offset = far_weight, far_offset
        row, instance, more, joint, exists, real = rows_of(
            line, quarter, size, joints, number, BLOCK_Q, LINES
        )
        channel = branch * quarter + row
        base = u + instance * 4 * quarter * inner
        place = (more * 4 * quarter + channel) * inner + joint * frames
        scales, shifts = spread(scale, LINES), spread(shift, LINES)
        total = tl.zeros((BLOCK_Q, LINES * BLOCK_S), tl.float32)
        for begin in range(0, frames, BLOCK_T):
            source = begin + tl.arange(0, BLOCK_T)
            inside = real[:, None] & (source < frames)[None, :]
            h = hidden(base, place, source, inside, scales, shifts, slope)
            for r in range(ETA):
                first, second, fraction = taps(offset, r, target, frames, short, stride)
                along = blend(first[None, :], second[None, :], source[:, None], fraction)
                sample = interpolate(h, along, PRECISION, kind)
                sample = tl.reshape(sample, (BLOCK_Q, LINES * BLOCK_S))
                w = matrix_of(kernel, r, quarter, kind, ETA, BLOCK_Q)
                total = multiply_add(w, sample, total, PRECISION)
        total = tl.reshape(total, (BLOCK_Q * LINES, BLOCK_S))
        to = ((more * 4 * quarter + channel) * outer + joint * short)[:, None] + target[None, :]
        to += instance * 4 * quarter * outer
        mask = exists[:, None] & (target < short)[None, :]
        if FINISH:
            total = finished(
                total, after_scale, after_shift, residual, channel, exists, to, mask, after_slope,
                ADDS,
            )  # fmt: skip
        tl.store(z + to, narrow(tl.where(real[:, None], total, 0.0), kind), mask)
    else:
        frame = target * stride
        # Clamped, too: a wide load of the middle frame would have to be rearranged for the others.
        before, middle = tl.maximum(frame - 1, 0), tl.minimum(frame, frames - 1)
        after = tl.minimum(frame + 1, frames - 1)
        for _ in range(LINES):
            row, instance, more, joint, exists, real = rows_of(
                line, quarter, size, joints, number, BLOCK_Q, 1
            )
            line += 1
            mask = exists[:, None] & (target < short)[None, :]
            real = real[:, None] & (target < short)[None, :]
            channel = 2 * quarter + row
            base = u + instance * 4 * quarter * inner
            place = (more * 4 * quarter + channel) * inner + joint * frames
            most = hidden(base, place, middle, real, scale, shift, slope)
            most = tl.maximum(most, hidden(base, place, before, real, scale, shift, slope))
            most = tl.maximum(most, hidden(base, place, after, real, scale, shift, slope))
            base += quarter * inner
            direct = tl.load(base + place[:, None] + frame[None, :], real, 0.0).to(tl.float32)
            to = ((more * 4 * quarter + channel) * outer + joint * short)[:, None]
            to += target[None, :] + instance * 4 * quarter * outer
            if FINISH:
                most = finished(
                    most, after_scale, after_shift, residual, channel, exists, to, mask,
                    after_slope, ADDS,
                )  # fmt: skip
                direct = finished(
                    direct, after_scale, after_shift, residual, channel + quarter, exists,
                    to + quarter * outer, mask, after_slope, ADDS,
                )  # fmt: skip
            tl.store(z + to, narrow(most, kind), mask)
            tl.store(z + to + quarter * outer, narrow(direct, kind), mask)
