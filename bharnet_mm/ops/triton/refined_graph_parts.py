"""Parts of the refined graph convolution's kernels: topology and values of a tile."""

from __future__ import annotations

import triton
import triton.language as tl

from .common import multiply, narrow

#: Output channels, senders and frames of a tile.
BLOCK_O, BLOCK_V, BLOCK_T = 16, 16, 16


@triton.jit
def tanh(x):
    """Hyperbolic tangent, exact to float32's rounding of 1."""
    return 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)


@triton.jit
def relation(relations, at, r, depth, joints, receiver, sender):
    """``tanh(q_u - k_v)`` of relation channel ``r`` of ``depth``, ``(U, V)``."""
    base = relations + at.to(tl.int64) * 2 * depth * joints + r * joints
    query = tl.load(base + receiver, receiver < joints, 0.0)
    key = tl.load(base + depth * joints + sender, sender < joints, 0.0)
    return tanh(query[:, None] - key[None, :])


@triton.jit
def topology(
    relations,
    refine_weight,
    refine_bias,
    alpha,
    adjacency,
    at,
    group,
    subset,
    row,
    receiver,
    sender,
    out,
    joints,
    S: tl.constexpr,
    R: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_U: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Topology of a subset ``(O, U, V)``, zero outside of the graph."""
    total = tl.zeros((BLOCK_O, BLOCK_U, BLOCK_V), tl.float32)
    place = (group * out + row) * S + subset
    for r in range(R):
        rel = relation(relations, at, subset * R + r, S * R, joints, receiver, sender)
        w = tl.load(refine_weight + place * R + r, row < out, 0.0).to(tl.float32)
        total += w[:, None, None] * rel[None, :, :]
    bias = tl.load(refine_bias + place, row < out, 0.0).to(tl.float32)
    inside = (receiver < joints)[:, None] & (sender < joints)[None, :]
    own = adjacency + subset * joints * joints + receiver[:, None] * joints + sender[None, :]
    own = tl.load(own, inside, 0.0).to(tl.float32)
    total = own[None, :, :] + tl.load(alpha).to(tl.float32) * (total + bias[:, None, None])
    return tl.where(inside[None, :, :] & (row < out)[:, None, None], total, 0.0)


@triton.jit
def project(
    values,
    value_weight,
    value_bias,
    group,
    subset,
    row,
    out,
    channels,
    S: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """Projected values ``(O, V, T)`` of a subset, and the weight ``(O, C)``."""
    column = tl.arange(0, BLOCK_C)
    place = (group * out + row) * S + subset
    weight = tl.load(
        value_weight + place[:, None] * channels + column[None, :],
        (row < out)[:, None] & (column < channels)[None, :],
        0.0,
    ).to(tl.float32)
    weight = narrow(weight, values.dtype)
    bias = tl.load(value_bias + place, row < out, 0.0).to(tl.float32)
    projected = multiply(weight, values, PRECISION) + bias[:, None]
    return narrow(tl.reshape(projected, (BLOCK_O, BLOCK_V, BLOCK_T)), values.dtype), weight


@triton.jit
def load_features(
    x,
    block,
    channel,
    channels,
    sender,
    joints,
    frame,
    frames,
    BLOCK_C: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """``(C, V·T)`` of features ``(P·G, C, V, T)``, zero outside."""
    base = x + block.to(tl.int64) * channels * joints * frames
    where = (channel[:, None, None] * joints + sender[None, :, None]) * frames + frame[
        None, None, :
    ]
    mask = (channel < channels)[:, None, None] & (sender < joints)[None, :, None]
    tile = tl.load(base + where, mask & (frame < frames)[None, None, :], 0.0)
    return tl.reshape(tile, (BLOCK_C, BLOCK_V * BLOCK_T))
