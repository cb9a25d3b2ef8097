"""Kernels of the gradients of the temporal branches, see :mod:`.temporal_kernels`."""

from __future__ import annotations

import triton
import triton.language as tl

from .common import activate, count_rows, multiply, multiply_add, narrow
from .temporal_kernels import blend, bounded, coefficients, hidden, matrix_of, rows_of, spread, taps


@triton.jit
def store_sums(part, split, splits, channel, mask, first, second, channels):
    """A split's sums of some channels to ``part (2, splits, channels)``."""
    tl.store(part + split * channels + channel, first, mask)
    tl.store(part + (splits + split) * channels + channel, second, mask)


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
    LINES: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Gradient of one branch before its norm, to ``grad_u``, and the sums ``part (2, splits, 3Q)``
    that the norm's gradient needs; of the direct branch the gradient itself.
    """
    branch, split, splits = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    number = count_rows(rows, size, HAS_ROWS)
    channels = 3 * quarter
    own = tl.arange(0, BLOCK_Q)
    some = own < quarter
    own += branch * quarter
    normed = some & (own < channels)
    scale, shift = coefficients(weight, bias, stats, own, normed, channels)
    mean = tl.load(stats + own, normed, 0.0)
    deviation = tl.load(stats + channels + own, normed, 0.0)
    inner, outer = joints * frames, joints * short
    blocks = tl.cdiv(frames, BLOCK_T)
    kind = u.dtype.element_ty
    if branch < 2:
        if branch == 0:
            kernel, offset = near_weight, near_offset
        else:
            kernel, offset = far_weight, far_offset
        scales, shifts = spread(scale, LINES), spread(shift, LINES)
        means, deviations = spread(mean, LINES), spread(deviation, LINES)
        first_sums = tl.zeros((BLOCK_Q * LINES,), tl.float32)
        second_sums = tl.zeros((BLOCK_Q * LINES,), tl.float32)
        for job in range(split, tl.cdiv(size * joints, LINES) * blocks, splits):
            row, instance, more, joint, exists, real = rows_of(
                job // blocks * LINES, quarter, size, joints, number, BLOCK_Q, LINES
            )
            frame = job % blocks * BLOCK_T + tl.arange(0, BLOCK_T)
            real = real[:, None]
            place = (more * 4 + branch) * quarter + row
            base = u + instance * 4 * quarter * inner
            at = (place * inner + joint * frames)[:, None] + frame[None, :]
            inside = real & (frame < frames)[None, :]
            total = tl.zeros((BLOCK_Q * LINES, BLOCK_T), tl.float32)
            for begin in range(0, short, BLOCK_S):
                target = begin + tl.arange(0, BLOCK_S)
                g = grad + instance * 4 * quarter * outer
                g += (place * outer + joint * short)[:, None] + target[None, :]
                g = tl.load(g, real & (target < short)[None, :], 0.0)
                g = tl.reshape(g, (BLOCK_Q, LINES * BLOCK_S))
                for r in range(ETA):
                    w = matrix_of(kernel, r, quarter, kind, ETA, BLOCK_Q)
                    y = narrow(multiply(tl.trans(w), g, PRECISION), kind)
                    y = tl.reshape(y, (BLOCK_Q * LINES, BLOCK_S))
                    first, second, fraction = taps(offset, r, target, frames, short, stride)
                    along = blend(first[None, :], second[None, :], frame[:, None], fraction)
                    total = multiply_add(y, tl.trans(narrow(along, kind)), total, PRECISION)
            value = tl.load(base + at, inside, 0.0).to(tl.float32)
            positive = value * scales[:, None] + shifts[:, None] > 0
            total = tl.where(inside, tl.where(positive, total, total * slope), 0.0)
            mask = exists[:, None] & (frame < frames)[None, :]
            tl.store(grad_u + instance * 4 * quarter * inner + at, narrow(total, kind), mask)
            first_sums += tl.sum(total, 1)
            second_sums += tl.sum(total * (value - means[:, None]) * deviations[:, None], 1)
        shape: tl.constexpr = (BLOCK_Q, LINES)
        store_sums(
            part, split, splits, own, some, tl.sum(tl.reshape(first_sums, shape), 1),
            tl.sum(tl.reshape(second_sums, shape), 1), channels,
        )  # fmt: skip
    else:
        first_sum = tl.zeros((BLOCK_Q,), tl.float32)
        second_sum = tl.zeros((BLOCK_Q,), tl.float32)
        for job in range(split, size * joints * blocks, splits):
            row, instance, more, joint, exists, real = rows_of(
                job // blocks, quarter, size, joints, number, BLOCK_Q, 1
            )
            frame = job % blocks * BLOCK_T + tl.arange(0, BLOCK_T)
            mask = exists[:, None] & (frame < frames)[None, :]
            real = real[:, None] & (frame < frames)[None, :]
            row = branch * quarter + row
            g_base = grad + instance * 4 * quarter * outer
            g_place = (row * outer + joint * short)[:, None]
            base = u + instance * 4 * quarter * inner
            place = row * inner + joint * frames
            to = grad_u + instance * 4 * quarter * inner + (place[:, None] + frame[None, :])
            hit = real & (frame % stride == 0)[None, :]
            if branch == 3:
                g = tl.load(g_base + (g_place + (frame // stride)[None, :]), hit, 0.0)
                tl.store(to, g, mask)
            else:
                # All frames are clamped: a wide load of the middle one would have to be rearranged
                # for the others.
                last = frames - 1
                own_frame = tl.minimum(frame, last)
                # A frame is the largest of three around it, before it or after it; of equal frames
                # the middle one is taken, then the one before.
                value = tl.load(base + (place[:, None] + own_frame[None, :]), real, 0.0)
                value = value.to(tl.float32)
                here = value * scale[:, None] + shift[:, None]
                positive = here > 0
                here = tl.where(real, activate(here, slope), 0.0)
                before, after = tl.maximum(frame - 1, 0), tl.minimum(frame + 1, last)
                near_left = hidden(base, place, before, real, scale, shift, slope)
                near_right = hidden(base, place, after, real, scale, shift, slope)
                before, after = tl.maximum(frame - 2, 0), tl.minimum(frame + 2, last)
                left = hidden(base, place, before, real, scale, shift, slope)
                right = hidden(base, place, after, real, scale, shift, slope)
                hit = hit & (here >= near_left) & (here >= near_right)
                at = g_base + (g_place + (own_frame // stride)[None, :])
                total = tl.load(at, hit, 0.0).to(tl.float32)
                # The frame before the middle, which is the next one.
                hit = real & ((frame + 1 < frames) & ((frame + 1) % stride == 0))[None, :]
                hit = hit & (here > near_right) & (here >= right)
                at = g_base + (g_place + (tl.minimum(frame + 1, last) // stride)[None, :])
                total += tl.load(at, hit, 0.0).to(tl.float32)
                # The frame after the middle, which is the previous one.
                hit = real & ((frame >= 1) & ((frame + stride - 1) % stride == 0))[None, :]
                hit = hit & (here > near_left) & (here > left)
                at = g_base + (g_place + (tl.maximum(frame - 1, 0) // stride)[None, :])
                total += tl.load(at, hit, 0.0).to(tl.float32)
                total = tl.where(positive, total, total * slope)
                tl.store(to, narrow(total, kind), mask)
                first_sum += tl.sum(total, 1)
                second_sum += tl.sum(total * (value - mean[:, None]) * deviation[:, None], 1)
        store_sums(part, split, splits, own, normed, first_sum, second_sum, channels)


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
    LINES: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """Sums over a part of the tiles, for one sample of one deformable branch: gradients to its
    weight and offset, to ``part (splits, 2·Q·Q·eta + 2·eta)``.
    """
    branch, r = tl.program_id(0) // ETA, tl.program_id(0) % ETA
    split, splits = tl.program_id(1), tl.num_programs(1)
    number = count_rows(rows, size, HAS_ROWS)
    channel = branch * quarter + tl.arange(0, BLOCK_Q * LINES) // LINES
    some = tl.arange(0, BLOCK_Q * LINES) // LINES < quarter
    scale, shift = coefficients(weight, bias, stats, channel, some, 3 * quarter)
    if branch == 0:
        kernel, offset = near_weight, near_offset
    else:
        kernel, offset = far_weight, far_offset
    kind = u.dtype.element_ty
    # A program takes the lines at some frames and some output frames, the same for all its tiles.
    sources, targets = tl.cdiv(frames, BLOCK_T), tl.cdiv(short, BLOCK_S)
    source = split % sources * BLOCK_T + tl.arange(0, BLOCK_T)
    target = split // sources % targets * BLOCK_S + tl.arange(0, BLOCK_S)
    first, second, fraction = taps(offset, r, target, frames, short, stride)
    near = (source[:, None] == first[None, :]).to(tl.float32)
    change = narrow((source[:, None] == second[None, :]).to(tl.float32) - near, kind)
    near = narrow(near, kind)
    inner, outer = joints * frames, joints * short
    # A product of few channels is too small for all warps: each group of lines has its own.
    if GROUPS > 1:
        by_sample = tl.zeros((GROUPS, BLOCK_Q, BLOCK_Q), tl.float32)
        by_slope = tl.zeros((GROUPS, BLOCK_Q, BLOCK_Q), tl.float32)
    else:
        by_sample = tl.zeros((BLOCK_Q, BLOCK_Q), tl.float32)
        by_slope = tl.zeros((BLOCK_Q, BLOCK_Q), tl.float32)
    pairs = sources * targets
    for job in range(split // pairs, tl.cdiv(number * joints, LINES), splits // pairs):
        row, instance, more, joint, _, real = rows_of(
            job * LINES, quarter, size, joints, number, BLOCK_Q, LINES
        )
        row = (more * 4 + branch) * quarter + row
        inside = real[:, None] & (source < frames)[None, :]
        base = u + instance * 4 * quarter * inner
        h = hidden(base, row * inner + joint * frames, source, inside, scale, shift, slope)
        high = narrow(h, kind)
        value = multiply(high, near, PRECISION)
        rise = multiply(high, change, PRECISION)
        if kind != tl.float32:
            rest = narrow(h - high.to(tl.float32), kind)
            rise = multiply_add(rest, change, rise, PRECISION)
        # Rounded as a difference: the difference of rounded values would lose what neighbours
        # share.
        sample = narrow(value + rise * fraction, kind)
        rise = narrow(rise, kind)
        g = grad + instance * 4 * quarter * outer
        g += (row * outer + joint * short)[:, None] + target[None, :]
        g = tl.load(g, real[:, None] & (target < short)[None, :], 0.0)
        if GROUPS > 1:
            shape: tl.constexpr = (BLOCK_Q, GROUPS, LINES // GROUPS * BLOCK_S)
            g = tl.permute(tl.reshape(g, shape), (1, 0, 2))
            sample = tl.permute(tl.reshape(sample, shape), (1, 2, 0))
            rise = tl.permute(tl.reshape(rise, shape), (1, 2, 0))
        else:
            flat: tl.constexpr = (BLOCK_Q, LINES * BLOCK_S)
            g = tl.reshape(g, flat)
            sample = tl.trans(tl.reshape(sample, flat))
            rise = tl.trans(tl.reshape(rise, flat))
        by_sample = multiply_add(g, sample, by_sample, PRECISION)
        by_slope = multiply_add(g, rise, by_slope, PRECISION)
    if GROUPS > 1:
        by_sample, by_slope = tl.sum(by_sample, 0), tl.sum(by_slope, 0)
    row, column = tl.arange(0, BLOCK_Q), tl.arange(0, BLOCK_Q)
    inside = (row < quarter)[:, None] & (column < quarter)[None, :]
    place = (row[:, None] * quarter + column[None, :]) * ETA + r
    w = tl.load(kernel + place, inside, 0.0).to(tl.float32)
    to = part + split.to(tl.int64) * total_size
    half = quarter * quarter * ETA
    tl.store(to + branch * half + place, by_sample, inside)
    _, _, moves = bounded(offset, r, frames)
    slant = tl.where(moves, tl.sum(w * by_slope), 0.0)
    tl.store(to + 2 * half + branch * ETA + r, slant)
