"""Adds the partial sums of programs and writes each gradient to its own tensor, in one launch."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .common import ceil_div

#: Largest number of gradients in the parts.
MOST = 9


@triton.jit(do_not_specialize=['rows'])
def _sum_kernel(
    part, rows, width, alpha, first_weight, second_weight, dots,
    out_0, out_1, out_2, out_3, out_4, out_5, out_6, out_7, out_8,
    length_0, length_1, length_2, length_3, length_4, length_5, length_6, length_7, length_8,
    slots_0, slots_1, slots_2, slots_3, slots_4, slots_5, slots_6, slots_7, slots_8,
    SCALES: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One block of one gradient. With SCALES the gradients 2 and 3 are those of ``alpha`` times a
    weight: they are scaled, and ``dots`` gets the sums of their products with the weights, which
    make alpha's gradient.
    """
    section = tl.program_id(1)
    out, length, slots, start = out_0, length_0, slots_0, 0
    following = length_0 * slots_0
    if section >= 1:
        out, length, slots, start = out_1, length_1, slots_1, following
    following += length_1 * slots_1
    if section >= 2:
        out, length, slots, start = out_2, length_2, slots_2, following
    following += length_2 * slots_2
    if section >= 3:
        out, length, slots, start = out_3, length_3, slots_3, following
    following += length_3 * slots_3
    if section >= 4:
        out, length, slots, start = out_4, length_4, slots_4, following
    following += length_4 * slots_4
    if section >= 5:
        out, length, slots, start = out_5, length_5, slots_5, following
    following += length_5 * slots_5
    if section >= 6:
        out, length, slots, start = out_6, length_6, slots_6, following
    following += length_6 * slots_6
    if section >= 7:
        out, length, slots, start = out_7, length_7, slots_7, following
    following += length_7 * slots_7
    if section >= 8:
        out, length, slots, start = out_8, length_8, slots_8, following
    place = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = place < length
    total = tl.zeros((BLOCK_R, BLOCK_N), tl.float32)
    end = tl.where(tl.program_id(0) * BLOCK_N < length, rows * slots, 0)
    for begin in range(0, end, BLOCK_R):
        row = begin + tl.arange(0, BLOCK_R)
        at = (row // slots).to(tl.int64) * width + start + row % slots * length
        mask = (row < end)[:, None] & inside[None, :]
        total += tl.load(part + at[:, None] + place[None, :], mask, 0.0)
    value = tl.sum(total, 0)
    if SCALES:
        if section == 2:
            w = tl.load(first_weight + place, inside, 0.0).to(tl.float32)
            tl.store(dots + tl.program_id(0), tl.sum(value * w))
            value = value * tl.load(alpha).to(tl.float32)
        if section == 3:
            w = tl.load(second_weight + place, inside, 0.0).to(tl.float32)
            tl.store(dots + tl.num_programs(0) + tl.program_id(0), tl.sum(value * w))
            value = value * tl.load(alpha).to(tl.float32)
    tl.store(out + place, value.to(out.dtype.element_ty), inside)


def sum_parts(
    part: Tensor, outputs: list[Tensor], slots: list[int], scale: tuple[Tensor, ...] = ()
) -> Tensor | None:
    """Writes the sums over rows and slots of ``part (rows, width)`` to ``outputs``.

    Args:
        part (Tensor): Each row has, one gradient after the other, ``slots`` copies of it.
        outputs (list[Tensor]): The gradients, contiguous, all of one type; at most :data:`MOST`.
        slots (list[int]): Of each gradient.
        scale (tuple): ``alpha`` and the two weights it multiplies, whose gradients the outputs 2
            and 3 are.

    Returns:
        Tensor, optional: The gradient of ``alpha``.
    """
    missing = MOST - len(outputs)
    padded = outputs + outputs[:1] * missing
    lengths = [out.numel() for out in outputs] + [0] * missing
    # With few gradients more programs share the longest one.
    tiles = dict(BLOCK_R=64, BLOCK_N=32 if len(outputs) <= 2 else 64)
    blocks = ceil_div(max(lengths), tiles['BLOCK_N'])
    dots = part.new_empty(2 * blocks if scale else 1)
    weights = scale or (part, part, part)
    _sum_kernel[(blocks, len(outputs))](
        part, part.size(0), part.size(1), *weights, dots, *padded, *lengths, *slots, *[1] * missing,
        SCALES=bool(scale), **tiles,
    )  # fmt: skip
    return dots.sum().to(scale[0].dtype) if scale else None
