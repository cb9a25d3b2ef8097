"""Kernels of the temporal branches. A tile has all channels of a branch and some (joint, frame)
places of an instance; a deformable convolution is one product for each of its samples, which are
interpolated as they are read.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .common import activate, count_rows, merge_moments, multiply_add, narrow, store_moments


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
def hidden(base, place, mask, scale, shift, slope):
    """Normalised and activated values at some places, zero outside of the mask."""
    value = tl.load(base + place, mask, 0.0).to(tl.float32)
    return tl.where(mask, activate(value * scale[:, None] + shift[:, None], slope), 0.0)


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
    BLOCK_N: tl.constexpr,
):
    """One branch of a tile; the third program along the branches computes the last two. With FINISH
    what follows the branches, too.
    """
    instance, branch = tl.program_id(1), tl.program_id(2)
    number = count_rows(rows, size, HAS_ROWS)
    row = tl.arange(0, BLOCK_Q)
    some = row < quarter
    place = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    line, frame = place // short, place % short * stride
    mask = some[:, None] & (place < joints * short)[None, :]
    limit = tl.where(instance < number, joints * short, 0)
    real = some[:, None] & (place < limit)[None, :]
    channels = 3 * quarter
    channel = branch * quarter + row
    if BY_BATCH:
        mean, variance, count = merge_moments(part, channel, some, channels, splits, SPLITS)
        deviation = tl.where(count > 0, tl.rsqrt(variance + eps), 0.0)
        if tl.program_id(0) + tl.program_id(1) == 0:
            store_moments(stats, channel, some, channels, mean, deviation, variance, count)
        scale = deviation * tl.load(weight + channel, some, 0.0).to(tl.float32)
        shift = tl.load(bias + channel, some, 0.0).to(tl.float32) - mean * scale
    else:
        scale, shift = coefficients(weight, bias, stats, channel, some, channels)
    inner, outer = joints * frames, joints * short
    base = u + instance.to(tl.int64) * 4 * quarter * inner + channel[:, None] * inner
    base += line[None, :] * frames
    to = instance.to(tl.int64) * 4 * quarter * outer + channel[:, None] * outer + place[None, :]
    kind = z.dtype.element_ty
    if branch < 2:
        if branch == 0:
            kernel, offset = near_weight, near_offset
        else:
            kernel, offset = far_weight, far_offset
        total = tl.zeros((BLOCK_Q, BLOCK_N), tl.float32)
        column = tl.arange(0, BLOCK_Q)
        inside = some[:, None] & (column < quarter)[None, :]
        for r in range(ETA):
            whole, fraction, _ = bounded(offset, r, frames)
            first = tl.minimum(tl.maximum(frame + whole, 0), frames - 1)
            second = tl.minimum(tl.maximum(frame + whole + 1, 0), frames - 1)
            sample = hidden(base, first[None, :], real, scale, shift, slope) * (1.0 - fraction)
            sample += hidden(base, second[None, :], real, scale, shift, slope) * fraction
            w = tl.load(kernel + (row[:, None] * quarter + column[None, :]) * ETA + r, inside, 0.0)
            w = narrow(w.to(tl.float32), kind)
            total = multiply_add(w, narrow(sample, kind), total, PRECISION)
        if FINISH:
            total = finished(
                total, after_scale, after_shift, residual, channel, some, to, mask, after_slope,
                ADDS,
            )  # fmt: skip
        tl.store(z + to, narrow(tl.where(real, total, 0.0), kind), mask)
    else:
        before = tl.maximum(frame - 1, 0)
        after = tl.minimum(frame + 1, frames - 1)
        most = hidden(base, frame[None, :], real, scale, shift, slope)
        most = tl.maximum(most, hidden(base, before[None, :], real, scale, shift, slope))
        most = tl.maximum(most, hidden(base, after[None, :], real, scale, shift, slope))
        direct = tl.load(base + quarter * inner + frame[None, :], real, 0.0).to(tl.float32)
        if FINISH:
            most = finished(
                most, after_scale, after_shift, residual, channel, some, to, mask, after_slope,
                ADDS,
            )  # fmt: skip
            direct = finished(
                direct, after_scale, after_shift, residual, channel + quarter, some,
                to + quarter * outer, mask, after_slope, ADDS,
            )  # fmt: skip
        tl.store(z + to, narrow(most, kind), mask)
        tl.store(z + to + quarter * outer, narrow(direct, kind), mask)


@triton.jit
def taps(grad, whole, line, frame, mask, joints, frames, short, stride):
    """Sum of a branch's gradient over the output frames that read each frame at an offset of
    ``whole`` frames, where frames before the first and after the last are the first and the last.
    """
    away = frame - whole
    # Of a negative number, // and % round to zero here; it is not read.
    source = away // stride
    hit = (away >= 0) & (away % stride == 0) & (source < short)
    total = tl.load(grad + line * short + source, mask & hit[None, :], 0.0).to(tl.float32)
    # Output frames whose place lies before the clip are the first ones, those behind it the last.
    low = tl.minimum(tl.maximum((stride - 1 - whole) // stride, 0), short)
    for at in range(0, low):
        edge = mask & (frame == 0)[None, :]
        total += tl.load(grad + line * short + at, edge, 0.0).to(tl.float32)
    high = tl.minimum(tl.maximum(frames - 1 - whole + stride, 0) // stride, short)
    for at in range(high, short):
        edge = mask & (frame == frames - 1)[None, :]
        total += tl.load(grad + line * short + at, edge, 0.0).to(tl.float32)
    return total


@triton.jit(do_not_specialize=['size'])
def features_kernel(
    grad,
    u,
    stats,
    weight,
    bias,
    near_weight,
    near_offset,
    far_weight,
    far_offset,
    rows,
    grad_u,
    part,
    size,
    quarter,
    joints,
    frames,
    short,
    stride,
    slope,
    ETA: tl.constexpr,
    HAS_ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Gradient of one branch before its norm, to ``grad_u``, and the sums ``part (2, splits, 3Q)``
    that the norm's gradient needs; of the direct branch the gradient itself.
    """
    branch, split, splits = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    number = count_rows(rows, size, HAS_ROWS)
    row = tl.arange(0, BLOCK_Q)
    some = row < quarter
    channels = 3 * quarter
    channel = branch * quarter + row
    normed = some & (channel < channels)
    scale, shift = coefficients(weight, bias, stats, channel, normed, channels)
    mean = tl.load(stats + channel, normed, 0.0)
    deviation = tl.load(stats + channels + channel, normed, 0.0)
    inner, outer = joints * frames, joints * short
    tiles = tl.cdiv(inner, BLOCK_N)
    kind = u.dtype.element_ty
    first = tl.zeros((BLOCK_Q, BLOCK_N), tl.float32)
    second = tl.zeros((BLOCK_Q, BLOCK_N), tl.float32)
    for job in range(split, size * tiles, splits):
        instance = (job // tiles).to(tl.int64)
        place = job % tiles * BLOCK_N + tl.arange(0, BLOCK_N)
        line, frame = place // frames, place % frames
        mask = some[:, None] & (place < inner)[None, :]
        limit = tl.where(instance < number, inner, 0)
        real = some[:, None] & (place < limit)[None, :]
        g_base = grad + instance * 4 * quarter * outer + channel[:, None] * outer
        own = u + instance * 4 * quarter * inner + channel[:, None] * inner
        to = grad_u + instance * 4 * quarter * inner + channel[:, None] * inner + place[None, :]
        if branch == 3:
            hit = real & (frame % stride == 0)[None, :]
            g = tl.load(g_base + (line * short + frame // stride)[None, :], hit, 0.0)
            tl.store(to, g, mask)
        else:
            total = tl.zeros((BLOCK_Q, BLOCK_N), tl.float32)
            if branch < 2:
                if branch == 0:
                    kernel, offset = near_weight, near_offset
                else:
                    kernel, offset = far_weight, far_offset
                column = tl.arange(0, BLOCK_Q)
                inside = some[:, None] & (column < quarter)[None, :]
                for r in range(ETA):
                    whole, fraction, _ = bounded(offset, r, frames)
                    g = taps(
                        g_base, whole, line[None, :], frame, real, joints, frames, short, stride
                    ) * (1.0 - fraction)
                    g += fraction * taps(
                        g_base, whole + 1, line[None, :], frame, real, joints, frames, short, stride
                    )
                    w = tl.load(  # transposed
                        kernel + (column[None, :] * quarter + row[:, None]) * ETA + r, inside, 0.0
                    )
                    w = narrow(w.to(tl.float32), kind)
                    total = multiply_add(w, narrow(g, kind), total, PRECISION)
            else:
                # A frame is the largest of three around it, before it or after it; of equal frames
                # the middle one is taken, then the one before.
                at = own + line[None, :] * frames
                here = hidden(at, frame[None, :], real, scale, shift, slope)
                last = frames - 1
                near_left = hidden(at, tl.maximum(frame - 1, 0)[None, :], real, scale, shift, slope)
                left = hidden(at, tl.maximum(frame - 2, 0)[None, :], real, scale, shift, slope)
                near_right = hidden(
                    at, tl.minimum(frame + 1, last)[None, :], real, scale, shift, slope
                )
                right = hidden(at, tl.minimum(frame + 2, last)[None, :], real, scale, shift, slope)
                g_at = g_base + line[None, :] * short
                hit = real & (frame % stride == 0)[None, :]
                hit = hit & (here >= near_left) & (here >= near_right)
                total += tl.load(g_at + (frame // stride)[None, :], hit, 0.0).to(tl.float32)
                # The frame before the middle, which is the next one.
                hit = real & ((frame + 1 < frames) & ((frame + 1) % stride == 0))[None, :]
                hit = hit & (here > near_right) & (here >= right)
                total += tl.load(g_at + ((frame + 1) // stride)[None, :], hit, 0.0).to(tl.float32)
                # The frame after the middle, which is the previous one.
                hit = real & ((frame >= 1) & ((frame + stride - 1) % stride == 0))[None, :]
                hit = hit & (here > near_left) & (here > left)
                g_place = tl.maximum(frame - 1, 0) // stride
                total += tl.load(g_at + g_place[None, :], hit, 0.0).to(tl.float32)
            value = tl.load(own + place[None, :], real, 0.0).to(tl.float32)
            positive = value * scale[:, None] + shift[:, None] > 0
            total = tl.where(real, tl.where(positive, total, total * slope), 0.0)
            tl.store(to, narrow(total, kind), mask)
            first += total
            second += total * (value - mean[:, None]) * deviation[:, None]
    if branch < 3:
        to = part + split * channels + channel
        tl.store(to, tl.sum(first, 1), some)
        tl.store(to + splits * channels, tl.sum(second, 1), some)


@triton.jit(do_not_specialize=['size'])
def parameters_kernel(
    grad,
    u,
    stats,
    weight,
    bias,
    near_weight,
    near_offset,
    far_weight,
    far_offset,
    rows,
    part,
    size,
    quarter,
    joints,
    frames,
    short,
    stride,
    slope,
    total_size,
    ETA: tl.constexpr,
    HAS_ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Sums over a part of the tiles, for one sample of one deformable branch: gradients to its
    weight and offset, to ``part (splits, 2·Q·Q·eta + 2·eta)``.
    """
    branch, r, split = tl.program_id(0) // ETA, tl.program_id(0) % ETA, tl.program_id(1)
    number = count_rows(rows, size, HAS_ROWS)
    row = tl.arange(0, BLOCK_Q)
    some = row < quarter
    channel = branch * quarter + row
    scale, shift = coefficients(weight, bias, stats, channel, some, 3 * quarter)
    if branch == 0:
        kernel, offset = near_weight, near_offset
    else:
        kernel, offset = far_weight, far_offset
    whole, fraction, moves = bounded(offset, r, frames)
    inner, outer = joints * frames, joints * short
    tiles = tl.cdiv(outer, BLOCK_N)
    kind = u.dtype.element_ty
    by_sample = tl.zeros((BLOCK_Q, BLOCK_Q), tl.float32)
    by_slope = tl.zeros((BLOCK_Q, BLOCK_Q), tl.float32)
    for job in range(split, number * tiles, tl.num_programs(1)):
        instance = (job // tiles).to(tl.int64)
        place = job % tiles * BLOCK_N + tl.arange(0, BLOCK_N)
        line, frame = place // short, place % short * stride
        mask = some[:, None] & (place < outer)[None, :]
        base = u + (instance * 4 * quarter + channel[:, None]) * inner + (line * frames)[None, :]
        g = grad + (instance * 4 * quarter + channel[:, None]) * outer + place[None, :]
        g = tl.load(g, mask, 0.0)
        at = tl.minimum(tl.maximum(frame + whole, 0), frames - 1)
        value = hidden(base, at[None, :], mask, scale, shift, slope)
        at = tl.minimum(tl.maximum(frame + whole + 1, 0), frames - 1)
        rise = hidden(base, at[None, :], mask, scale, shift, slope) - value
        # Rounded as a difference: the difference of rounded values would lose what neighbours
        # share.
        sample = narrow(value + rise * fraction, kind)
        by_sample = multiply_add(g, tl.trans(sample), by_sample, PRECISION)
        by_slope = multiply_add(g, tl.trans(narrow(rise, kind)), by_slope, PRECISION)
    column = tl.arange(0, BLOCK_Q)
    inside = some[:, None] & (column < quarter)[None, :]
    place = (row[:, None] * quarter + column[None, :]) * ETA + r
    w = tl.load(kernel + place, inside, 0.0).to(tl.float32)
    to = part + split.to(tl.int64) * total_size
    half = quarter * quarter * ETA
    tl.store(to + branch * half + place, by_sample, inside)
    slant = tl.where(moves, tl.sum(w * by_slope), 0.0)
    tl.store(to + 2 * half + branch * ETA + r, slant)
