"""Parts of the refined graph convolution's kernels: the relations of pairs of joints."""

from __future__ import annotations

import triton
import triton.language as tl

from .common import INTERPRETED


@triton.jit
def tanh(x, FINE: tl.constexpr):
    """Hyperbolic tangent; where TF32 is fine, to its precision (2^-11) in one instruction."""
    if FINE == 'tf32' and not INTERPRETED:
        y = tl.inline_asm_elementwise(
            'tanh.approx.f32 $0, $1;', '=f,f', [x], dtype=tl.float32, is_pure=True, pack=1
        )
    else:
        y = 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)  # exact to float32's rounding of 1
    return y


@triton.jit
def relations_of_pairs(
    relations,
    block,
    subset,
    pair,
    joints,
    S: tl.constexpr,
    R: tl.constexpr,
    LINE: tl.constexpr,
    FINE: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """``tanh(q_u - k_v)`` of a subset, ``(D, N)``, for pairs ``u · LINE + v``. Row R is one, for
    the bias; the others, and pairs outside of the graph, are zero.
    """
    r = tl.arange(0, BLOCK_D)
    inside = (pair // LINE < joints) & (pair % LINE < joints)
    some = (r < R)[:, None] & inside[None, :]
    base = relations + (block.to(tl.int64) * 2 * S + subset) * R * joints + r[:, None] * joints
    query = tl.load(base + (pair // LINE)[None, :], some, 0.0)
    key = tl.load(base + S * R * joints + (pair % LINE)[None, :], some, 0.0)
    return tl.where((r == R)[:, None] & inside[None, :], 1.0, tanh(query - key, FINE))


@triton.jit
def refinement(refine_weight, place, some, scale, last, R: tl.constexpr, BLOCK_D: tl.constexpr):
    """``scale`` times the refinement's weight, ``(O, D)``, and ``last`` in column R."""
    r = tl.arange(0, BLOCK_D)
    inside = some[:, None] & (r < R)[None, :]
    weight = tl.load(refine_weight + place[:, None] * R + r[None, :], inside, 0.0).to(tl.float32)
    return tl.where((r == R)[None, :], last[:, None], weight * scale)


@triton.jit
def load_tile(base, line, lines, column, columns):
    """``(A, B)`` of a matrix of contiguous lines, zero outside."""
    return tl.load(
        base + line[:, None] * columns + column[None, :],
        (line < lines)[:, None] & (column < columns)[None, :],
        0.0,
    )
