"""The sum of two or three gradients, rounded once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .. import shared as default
from .common import BLOCK, ceil_div, narrow, supported


@triton.jit(do_not_specialize=['size'])
def sum_kernel(first, second, third, y, size, length, THREE: tl.constexpr, BLOCK: tl.constexpr):
    """``y = first + second``, ``+ third`` with THREE; ``size`` instances of ``length`` values."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size * length
    value = tl.load(first + at, inside).to(tl.float32) + tl.load(second + at, inside)
    if THREE:
        value += tl.load(third + at, inside)
    tl.store(y + at, narrow(value, y.dtype.element_ty), inside)


def add(first: Tensor, second: Tensor, third: Tensor | None) -> Tensor:
    """The sum of gradients ``(P, *)``."""
    if not supported(first, second, third) or not 0 < first.numel() < 2**31 - BLOCK:
        return default._sum_gradients(first, second, third)
    first, second = first.contiguous(), second.contiguous()
    y, size = torch.empty_like(first), first.size(0)
    sum_kernel[(ceil_div(y.numel(), BLOCK),)](
        first, second, first if third is None else third.contiguous(), y, size, y.numel() // size,
        THREE=third is not None, BLOCK=BLOCK,
    )  # fmt: skip
    return y
