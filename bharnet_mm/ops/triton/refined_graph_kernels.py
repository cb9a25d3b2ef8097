"""Kernels of the refined graph convolution.

A tile has 16 output channels of a group, up to 32 receivers, 16 senders and 16 frames: the topology
``(16, 32, 16)`` and the values ``(16, 16, 16)`` of one subset are in registers, and all products
are on the matrix units. A graph takes several tiles.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .common import activate, multiply, multiply_add, narrow
from .refined_graph_parts import load_features, project, relation, topology


@triton.jit
def relate_kernel(
    x,
    mean,
    query_weight,
    query_bias,
    key_weight,
    key_bias,
    relations,
    groups,
    channels,
    depth,
    joints,
    frames,
    KNOWN: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """Means over time, and queries and keys of them, of one group of one instance."""
    block, group = tl.program_id(0), tl.program_id(0) % groups
    joint = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    row = tl.arange(0, BLOCK_R)
    query = tl.zeros((BLOCK_R, BLOCK_V), tl.float32)
    key = tl.zeros((BLOCK_R, BLOCK_V), tl.float32)
    for start in range(0, channels, BLOCK_C):
        channel = start + tl.arange(0, BLOCK_C)
        inside = (channel < channels)[:, None] & (joint < joints)[None, :]
        where = (block.to(tl.int64) * channels + channel[:, None]) * joints + joint[None, :]
        if KNOWN:
            average = tl.load(mean + where, inside, 0.0)
        else:
            average = tl.zeros((BLOCK_C, BLOCK_V), tl.float32)
            for begin in range(0, frames, BLOCK_T):
                frame = begin + tl.arange(0, BLOCK_T)
                tile = tl.load(
                    x + where[:, :, None] * frames + frame[None, None, :],
                    inside[:, :, None] & (frame < frames)[None, None, :],
                    0.0,
                )
                average += tl.sum(tile.to(tl.float32), 2)
            average = average / frames
            tl.store(mean + where, average, inside)
        place = (group * depth + row)[:, None] * channels + channel[None, :]
        some = (row < depth)[:, None] & (channel < channels)[None, :]
        w = tl.load(query_weight + place, some, 0.0).to(tl.float32)
        query = multiply_add(w, average, query, 'ieee')
        w = tl.load(key_weight + place, some, 0.0).to(tl.float32)
        key = multiply_add(w, average, key, 'ieee')
    query += tl.load(query_bias + group * depth + row, row < depth, 0.0).to(tl.float32)[:, None]
    key += tl.load(key_bias + group * depth + row, row < depth, 0.0).to(tl.float32)[:, None]
    to = relations + block.to(tl.int64) * 2 * depth * joints
    to += row[:, None] * joints + joint[None, :]
    inside = (row < depth)[:, None] & (joint < joints)[None, :]
    tl.store(to, query, inside)
    tl.store(to + depth * joints, key, inside)


@triton.jit
def forward_kernel(
    x,
    relations,
    value_weight,
    value_bias,
    refine_weight,
    refine_bias,
    alpha,
    adjacency,
    y,
    scale,
    shift,
    residual,
    slope,
    groups,
    channels,
    out,
    joints,
    frames,
    FINISH: tl.constexpr,
    ADDS: tl.constexpr,
    S: tl.constexpr,
    R: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_U: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Output ``(O, U, T)``; with FINISH ``act(scale · output + shift + residual)``."""
    block, group = tl.program_id(2), tl.program_id(2) % groups
    parts = tl.cdiv(frames, BLOCK_T)
    frame = tl.program_id(0) % parts * BLOCK_T + tl.arange(0, BLOCK_T)
    receiver = tl.program_id(0) // parts * BLOCK_U + tl.arange(0, BLOCK_U)
    row = tl.program_id(1) * BLOCK_O + tl.arange(0, BLOCK_O)
    total = tl.zeros((BLOCK_O, BLOCK_U, BLOCK_T), tl.float32)
    for start in range(0, joints, BLOCK_V):
        sender = start + tl.arange(0, BLOCK_V)
        values = load_features(
            x, block, tl.arange(0, BLOCK_C), channels, sender, joints, frame, frames,
            BLOCK_C, BLOCK_V, BLOCK_T,
        )  # fmt: skip
        for subset in range(S):
            graph = topology(
                relations, refine_weight, refine_bias, alpha, adjacency, block, group, subset, row,
                receiver, sender, out, joints, S, R, BLOCK_O, BLOCK_U, BLOCK_V,
            )  # fmt: skip
            projected, _ = project(
                values, value_weight, value_bias, group, subset, row, out, channels,
                S, PRECISION, BLOCK_O, BLOCK_C, BLOCK_V, BLOCK_T,
            )  # fmt: skip
            total = multiply_add(narrow(graph, values.dtype), projected, total, PRECISION)
    to = (block.to(tl.int64) * out + row[:, None, None]) * joints + receiver[None, :, None]
    to = to * frames + frame[None, None, :]
    mask = (row < out)[:, None, None] & (receiver < joints)[None, :, None]
    mask = mask & (frame < frames)[None, None, :]
    if FINISH:
        at = group * out + row
        factor = tl.load(scale + at, row < out, 0.0).to(tl.float32)
        total = total * factor[:, None, None]
        total += tl.load(shift + at, row < out, 0.0).to(tl.float32)[:, None, None]
        if ADDS:
            total += tl.load(residual + to, mask, 0.0).to(tl.float32)
        total = activate(total, slope)
    tl.store(y + to, narrow(total, y.dtype.element_ty), mask)


@triton.jit(do_not_specialize=['slots', 'slot_step'])
def features_kernel(
    grad,
    relations,
    grad_relations,
    query_weight,
    key_weight,
    value_weight,
    value_bias,
    refine_weight,
    refine_bias,
    alpha,
    adjacency,
    grad_x,
    groups,
    channels,
    out,
    joints,
    frames,
    slots,
    slot_step,
    S: tl.constexpr,
    R: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_U: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_R: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Gradient to the features of a group, ``(C, V, T)``."""
    block, group = tl.program_id(1), tl.program_id(1) % groups
    parts = tl.cdiv(frames, BLOCK_T)
    frame = tl.program_id(0) % parts * BLOCK_T + tl.arange(0, BLOCK_T)
    sender = tl.program_id(0) // parts * BLOCK_V + tl.arange(0, BLOCK_V)
    channel = tl.arange(0, BLOCK_C)
    total = tl.zeros((BLOCK_C, BLOCK_V * BLOCK_T), tl.float32)
    for job in range(tl.cdiv(out, BLOCK_O) * S):
        row = job // S * BLOCK_O + tl.arange(0, BLOCK_O)
        subset = job % S
        values = tl.zeros((BLOCK_O, BLOCK_V, BLOCK_T), tl.float32)
        for start in range(0, joints, BLOCK_U):
            receiver = start + tl.arange(0, BLOCK_U)
            graph = topology(
                relations, refine_weight, refine_bias, alpha, adjacency, block, group, subset, row,
                receiver, sender, out, joints, S, R, BLOCK_O, BLOCK_U, BLOCK_V,
            )  # fmt: skip
            g = load_features(
                grad, block, row, out, receiver, joints, frame, frames, BLOCK_O, BLOCK_U, BLOCK_T
            )
            g = tl.reshape(g, (BLOCK_O, BLOCK_U, BLOCK_T))
            graph = tl.permute(narrow(graph, g.dtype), (0, 2, 1))
            values = multiply_add(graph, g, values, PRECISION)
        place = (group * out + row) * S + subset
        weight = tl.load(
            value_weight + place[None, :] * channels + channel[:, None],
            (channel < channels)[:, None] & (row < out)[None, :],
            0.0,
        ).to(tl.float32)
        weight = narrow(weight, grad.dtype.element_ty)
        flat = narrow(tl.reshape(values, (BLOCK_O, BLOCK_V * BLOCK_T)), grad.dtype.element_ty)
        total = multiply_add(weight, flat, total, PRECISION)
    # The gradient through queries and keys of the mean over time.
    r = tl.arange(0, BLOCK_R)
    depth: tl.constexpr = S * R
    place = (group * depth + r)[None, :] * channels + channel[:, None]
    some = (channel < channels)[:, None] & (r < depth)[None, :]
    base = grad_relations + block.to(tl.int64) * 2 * depth * joints
    base += r[:, None] * joints + sender[None, :]
    inside = (r < depth)[:, None] & (sender < joints)[None, :]
    g_query = tl.zeros((BLOCK_R, BLOCK_V), tl.float32)
    g_key = tl.zeros((BLOCK_R, BLOCK_V), tl.float32)
    for slot in range(slots):
        at = base + slot * slot_step
        g_query += tl.load(at, inside, 0.0)
        g_key += tl.load(at + depth * joints, inside, 0.0)
    w = tl.load(query_weight + place, some, 0.0).to(tl.float32)
    average = multiply(w, g_query, 'ieee')
    w = tl.load(key_weight + place, some, 0.0).to(tl.float32)
    average = multiply_add(w, g_key, average, 'ieee') / frames
    total = tl.reshape(total, (BLOCK_C, BLOCK_V, BLOCK_T)) + average[:, :, None]
    to = (block.to(tl.int64) * channels + channel[:, None, None]) * joints + sender[None, :, None]
    mask = (channel < channels)[:, None, None] & (sender < joints)[None, :, None]
    tl.store(
        grad_x + to * frames + frame[None, None, :],
        narrow(total, grad_x.dtype.element_ty),
        mask & (frame < frames)[None, None, :],
    )


@triton.jit(do_not_specialize=['size'])
def parameters_kernel(
    grad,
    x,
    mean,
    relations,
    value_weight,
    value_bias,
    refine_weight,
    refine_bias,
    alpha,
    adjacency,
    part,
    grad_relations,
    size,
    groups,
    channels,
    out,
    joints,
    frames,
    total_size,
    S: tl.constexpr,
    R: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_U: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Sums over a part of the instances, of 16 outputs, one subset and one tile of the graph:
    gradients to the value's weight and bias, to the refinement's (without ``alpha``), to the
    adjacency and to the weights and biases of query and key, to ``part``; and the gradients to
    queries and keys, to ``grad_relations (slots, P, G, 2, S·R, V)``.
    """
    blocks_o = tl.cdiv(out, BLOCK_O)
    blocks_v = tl.cdiv(joints, BLOCK_V)  # as many as of receivers
    subset = tl.program_id(0) % S
    block_o, group = tl.program_id(0) // S % blocks_o, tl.program_id(0) // (S * blocks_o)
    block_u, block_v = tl.program_id(1) // blocks_v, tl.program_id(1) % blocks_v
    row = block_o * BLOCK_O + tl.arange(0, BLOCK_O)
    receiver = block_u * BLOCK_U + tl.arange(0, BLOCK_U)
    sender = block_v * BLOCK_V + tl.arange(0, BLOCK_V)
    channel = tl.arange(0, BLOCK_C)
    inside = (receiver < joints)[:, None] & (sender < joints)[None, :]
    place = (group * out + row) * S + subset
    scale = tl.load(alpha).to(tl.float32)
    depth: tl.constexpr = S * R
    r_place = tl.arange(0, BLOCK_D)

    # Of few channels a sum for each sender takes fewer registers than one over senders and frames.
    EACH: tl.constexpr = BLOCK_C <= 16
    if EACH:
        sum_weight = tl.zeros((BLOCK_V, BLOCK_O, BLOCK_C), tl.float32)
    else:
        sum_weight = tl.zeros((BLOCK_O, BLOCK_C), tl.float32)
    sum_bias = tl.zeros((BLOCK_O,), tl.float32)
    sum_refine = tl.zeros((BLOCK_O, BLOCK_D), tl.float32)
    sum_refine_bias = tl.zeros((BLOCK_O,), tl.float32)
    sum_adjacency = tl.zeros((BLOCK_U, BLOCK_V), tl.float32)
    sum_query = tl.zeros((BLOCK_D, BLOCK_C), tl.float32)
    sum_key = tl.zeros((BLOCK_D, BLOCK_C), tl.float32)
    sum_query_bias = tl.zeros((BLOCK_D,), tl.float32)
    sum_key_bias = tl.zeros((BLOCK_D,), tl.float32)
    for instance in range(tl.program_id(2), size, tl.num_programs(2)):
        block = instance * groups + group
        graph = topology(
            relations, refine_weight, refine_bias, alpha, adjacency, block, group, subset, row,
            receiver, sender, out, joints, S, R, BLOCK_O, BLOCK_U, BLOCK_V,
        )  # fmt: skip
        graph = tl.permute(narrow(graph, x.dtype.element_ty), (0, 2, 1))
        g_graph = tl.zeros((BLOCK_O, BLOCK_U, BLOCK_V), tl.float32)
        for start in range(0, frames, BLOCK_T):
            frame = start + tl.arange(0, BLOCK_T)
            values = load_features(
                x, block, channel, channels, sender, joints, frame, frames,
                BLOCK_C, BLOCK_V, BLOCK_T,
            )  # fmt: skip
            g = load_features(
                grad, block, row, out, receiver, joints, frame, frames, BLOCK_O, BLOCK_U, BLOCK_T
            )
            g = tl.reshape(g, (BLOCK_O, BLOCK_U, BLOCK_T))
            projected, _ = project(
                values, value_weight, value_bias, group, subset, row, out, channels,
                S, PRECISION, BLOCK_O, BLOCK_C, BLOCK_V, BLOCK_T,
            )  # fmt: skip
            g_graph = multiply_add(g, tl.permute(projected, (0, 2, 1)), g_graph, PRECISION)
            g_values = multiply(graph, g, PRECISION)
            sum_bias += tl.sum(tl.sum(g_values, 2), 1)
            g_values = narrow(g_values, x.dtype.element_ty)
            if EACH:
                by_sender = tl.permute(tl.reshape(values, (BLOCK_C, BLOCK_V, BLOCK_T)), (1, 2, 0))
                g_values = tl.permute(g_values, (1, 0, 2))
                sum_weight = multiply_add(g_values, by_sender, sum_weight, PRECISION)
            else:
                flat = tl.reshape(g_values, (BLOCK_O, BLOCK_V * BLOCK_T))
                sum_weight = multiply_add(flat, tl.trans(values), sum_weight, PRECISION)
        g_graph = tl.where(inside[None, :, :], g_graph, 0.0)
        sum_refine_bias += tl.sum(tl.sum(g_graph, 2), 1)
        sum_adjacency += tl.sum(g_graph, 0)
        average = mean + (block.to(tl.int64) * channels + channel[:, None]) * joints
        received = (channel < channels)[:, None] & (receiver < joints)[None, :]
        received = tl.load(average + receiver[None, :], received, 0.0)
        sent = (channel < channels)[:, None] & (sender < joints)[None, :]
        sent = tl.load(average + sender[None, :], sent, 0.0)
        for r in range(R):
            rel = relation(relations, block, subset * R + r, depth, joints, receiver, sender)
            own = tl.sum(tl.sum(g_graph * rel[None, :, :], 2), 1)
            sum_refine += tl.where(r_place[None, :] == r, own[:, None], 0.0)
            w = tl.load(refine_weight + place * R + r, row < out, 0.0).to(tl.float32)
            slope = scale * tl.sum(w[:, None, None] * g_graph, 0) * (1.0 - rel * rel)
            g_query, g_key = tl.sum(slope, 1), -tl.sum(slope, 0)
            here = r_place == r
            outer = tl.sum(g_query[None, :] * received, 1)
            sum_query += tl.where(here[:, None], outer[None, :], 0.0)
            outer = tl.sum(g_key[None, :] * sent, 1)
            sum_key += tl.where(here[:, None], outer[None, :], 0.0)
            sum_query_bias += tl.where(here, tl.sum(g_query), 0.0)
            sum_key_bias += tl.where(here, tl.sum(g_key), 0.0)
            # Each tile of senders has a part of a query's gradient, each of receivers one of a
            # key's.
            at = block.to(tl.int64) + (block_o * blocks_v + block_v).to(tl.int64) * size * groups
            to = grad_relations + (at * 2 * depth + subset * R + r) * joints
            tl.store(to + receiver, g_query, receiver < joints)
            at = block.to(tl.int64) + (block_o * blocks_v + block_u).to(tl.int64) * size * groups
            to = grad_relations + ((at * 2 + 1) * depth + subset * R + r) * joints
            tl.store(to + sender, g_key, sender < joints)

    to = part + (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)).to(tl.int64) * total_size
    outputs = groups * out * S
    some = (row < out)[:, None]
    mask = some & (channel < channels)[None, :]
    if EACH:
        sum_weight = tl.sum(sum_weight, 0)
    tl.store(to + place[:, None] * channels + channel[None, :], sum_weight, mask)
    to += outputs * channels
    tl.store(to + place, sum_bias, row < out)
    to += outputs
    tl.store(to + place[:, None] * R + r_place[None, :], sum_refine, some & (r_place < R)[None, :])
    to += outputs * R
    tl.store(to + place, sum_refine_bias, row < out)
    to += outputs
    at = to + ((group * blocks_o + block_o) * S + subset) * joints * joints
    tl.store(at + receiver[:, None] * joints + sender[None, :], sum_adjacency, inside)
    to += groups * blocks_o * S * joints * joints
    # Queries and keys: a slot for each block of outputs.
    line = (block_o * groups + group) * depth + subset * R + r_place
    some = r_place < R
    mask = some[:, None] & (channel < channels)[None, :]
    number = blocks_o * groups * depth
    tl.store(to + line[:, None] * channels + channel[None, :], sum_query, mask)
    to += number * channels
    tl.store(to + line, sum_query_bias, some)
    to += number
    tl.store(to + line[:, None] * channels + channel[None, :], sum_key, mask)
    tl.store(to + number * channels + line, sum_key_bias, some)
