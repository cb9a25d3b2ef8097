"""Kernels of the refined graph convolution.

The topology ``(P, O, S, U·V)`` and the projected values ``(P, O, S, V, T)`` are written to memory
in the type of the features. That moves more bytes than computing them where they are used, but each
kernel is then one or two products of matrices, of which a processor holds many at a time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .common import activate, multiply, multiply_add, narrow
from .refined_graph_parts import load_tile, refinement, relations_of_pairs


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
def topology_kernel(
    relations,
    refine_weight,
    refine_bias,
    alpha,
    adjacency,
    graph,
    groups,
    out,
    joints,
    size,
    S: tl.constexpr,
    R: tl.constexpr,
    LINE: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
    FINE: tl.constexpr,
):
    """Topology of a group of an instance, ``graph (P·O, S, size)``: some pairs ``receiver · LINE +
    sender``; zero outside of the graph.
    """
    block, group = tl.program_id(1), tl.program_id(1) % groups
    pair = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = (pair // LINE < joints) & (pair % LINE < joints)
    scale = tl.load(alpha).to(tl.float32)
    for subset in range(S):
        related = relations_of_pairs(
            relations, block, subset, pair, joints, S, R, LINE, FINE, BLOCK_D
        )  # fmt: skip
        own = adjacency + (subset * joints + pair // LINE) * joints + pair % LINE
        own = tl.load(own, inside, 0.0).to(tl.float32)
        for start in range(0, out, BLOCK_O):
            row = start + tl.arange(0, BLOCK_O)
            some = row < out
            place = (group * out + row) * S + subset
            bias = tl.load(refine_bias + place, some, 0.0).to(tl.float32) * scale
            weight = refinement(refine_weight, place, some, scale, bias, R, BLOCK_D)
            total = multiply(weight, related, FINE) + own[None, :]
            to = ((block.to(tl.int64) * out + row) * S + subset)[:, None] * size + pair[None, :]
            mask = some[:, None] & (pair < size)[None, :]
            tl.store(graph + to, narrow(total, graph.dtype.element_ty), mask)


@triton.jit
def mix_kernel(
    graph,
    values,
    y,
    scale,
    shift,
    residual,
    slope,
    channels,
    joints,
    frames,
    size,
    FINISH: tl.constexpr,
    ADDS: tl.constexpr,
    S: tl.constexpr,
    LINE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """Sum over subsets and senders of topology times values, ``(U, T)`` of a channel of an
    instance; with FINISH ``act(scale · output + shift + residual)``.
    """
    at = tl.program_id(0).to(tl.int64)
    frame = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)
    receiver = tl.program_id(2) * BLOCK_V + tl.arange(0, BLOCK_V)
    total = tl.zeros((BLOCK_V, BLOCK_T), tl.float32)
    for subset in range(S):
        own, lines = graph + (at * S + subset) * size, values + (at * S + subset) * joints * frames
        for start in range(0, joints, BLOCK_V):
            sender = start + tl.arange(0, BLOCK_V)
            left = load_tile(own, receiver, joints, sender, LINE)
            right = load_tile(lines, sender, joints, frame, frames)
            total = multiply_add(left, right, total, PRECISION)
    to = at * joints * frames + receiver[:, None] * frames + frame[None, :]
    mask = (receiver < joints)[:, None] & (frame < frames)[None, :]
    if FINISH:
        channel = tl.program_id(0) % channels
        total = total * tl.load(scale + channel).to(tl.float32)
        total += tl.load(shift + channel).to(tl.float32)
        if ADDS:
            total += tl.load(residual + to, mask, 0.0).to(tl.float32)
        total = activate(total, slope)
    tl.store(y + to, narrow(total, y.dtype.element_ty), mask)


@triton.jit
def mix_backward_kernel(
    grad,
    graph,
    values,
    grad_graph,
    grad_values,
    joints,
    frames,
    size,
    ONE: tl.constexpr,
    S: tl.constexpr,
    LINE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """Gradients to topology and values of a channel of an instance, for some senders. With ONE a
    tile has all joints and frames.
    """
    at = tl.program_id(0).to(tl.int64)
    sender = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    frame, receiver = tl.arange(0, BLOCK_T), tl.arange(0, BLOCK_V)
    kind = grad.dtype.element_ty
    given = grad + at * joints * frames
    if ONE:
        g = load_tile(given, receiver, joints, frame, frames)
    for subset in range(S):
        own, to_own = graph + (at * S + subset) * size, grad_graph + (at * S + subset) * size
        here = (at * S + subset) * joints * frames
        lines, to_lines = values + here, grad_values + here
        if ONE:
            right = load_tile(lines, sender, joints, frame, frames)
            left = load_tile(own, receiver, joints, sender, LINE)
            total = multiply(g, tl.trans(right), PRECISION)
            to = to_own + receiver[:, None] * LINE + sender[None, :]
            tl.store(
                to, narrow(total, kind), (receiver < joints)[:, None] & (sender < LINE)[None, :]
            )
            total = multiply(tl.trans(left), g, PRECISION)
            to = to_lines + sender[:, None] * frames + frame[None, :]
            tl.store(
                to, narrow(total, kind), (sender < joints)[:, None] & (frame < frames)[None, :]
            )
        else:
            for start in range(0, joints, BLOCK_V):
                total = tl.zeros((BLOCK_V, BLOCK_V), tl.float32)
                for begin in range(0, frames, BLOCK_T):
                    g = load_tile(given, start + receiver, joints, begin + frame, frames)
                    right = load_tile(lines, sender, joints, begin + frame, frames)
                    total = multiply_add(g, tl.trans(right), total, PRECISION)
                to = to_own + (start + receiver)[:, None] * LINE + sender[None, :]
                mask = (start + receiver < joints)[:, None] & (sender < LINE)[None, :]
                tl.store(to, narrow(total, kind), mask)
            for begin in range(0, frames, BLOCK_T):
                total = tl.zeros((BLOCK_V, BLOCK_T), tl.float32)
                for start in range(0, joints, BLOCK_V):
                    g = load_tile(given, start + receiver, joints, begin + frame, frames)
                    left = load_tile(own, start + receiver, joints, sender, LINE)
                    total = multiply_add(tl.trans(left), g, total, PRECISION)
                to = to_lines + sender[:, None] * frames + (begin + frame)[None, :]
                mask = (sender < joints)[:, None] & (begin + frame < frames)[None, :]
                tl.store(to, narrow(total, kind), mask)


@triton.jit(do_not_specialize=['size'])
def relations_kernel(
    grad_graph,
    mean,
    relations,
    refine_weight,
    alpha,
    part,
    grad_relations,
    size,
    groups,
    channels,
    out,
    joints,
    pairs_size,
    total_size,
    S: tl.constexpr,
    R: tl.constexpr,
    LINE: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_N: tl.constexpr,
    PRECISION: tl.constexpr,
    FINE: tl.constexpr,
):
    """Sums over a part of the instances, of one subset of one group, to ``part``: gradients to
    weight and bias of the query, to the refinement's (without ``alpha``), to the adjacency (a slot
    for each group), and to weight and bias of the key. Also the gradients to queries and keys, to
    ``grad_relations``, which has the shape of ``relations``.
    """
    subset, group = tl.program_id(0) % S, tl.program_id(0) // S
    split = tl.program_id(1)
    row, r = tl.arange(0, BLOCK_O), tl.arange(0, BLOCK_D)
    joint, channel = tl.arange(0, BLOCK_V), tl.arange(0, BLOCK_C)
    some, real = row < out, r < R
    place = (group * out + row) * S + subset
    scale = tl.load(alpha).to(tl.float32)
    kind = grad_graph.dtype.element_ty
    ones = tl.where(some, 1.0, 0.0)  # row R of the product is the sum over channels
    weight = refinement(refine_weight, place, some, scale, ones, R, BLOCK_D)
    weight = narrow(tl.trans(weight), kind)
    outputs, depth, pairs = groups * out * S, groups * S * R, joints * joints
    to = part + split.to(tl.int64) * total_size
    to_refine = to + depth * (channels + 1)
    to_own = to_refine + outputs * (R + 1) + (group * S + subset) * pairs
    sum_refine = tl.zeros((BLOCK_O, BLOCK_D), tl.float32)
    sum_query = tl.zeros((BLOCK_D, BLOCK_C), tl.float32)
    sum_key = tl.zeros((BLOCK_D, BLOCK_C), tl.float32)
    query_bias = tl.zeros((BLOCK_D,), tl.float32)
    key_bias = tl.zeros((BLOCK_D,), tl.float32)
    for instance in range(split, size, tl.num_programs(1)):
        block = instance * groups + group
        base = grad_graph + ((block.to(tl.int64) * out + row) * S + subset)[:, None] * pairs_size
        g_query = tl.zeros((BLOCK_D, BLOCK_V), tl.float32)
        g_key = tl.zeros((BLOCK_D, BLOCK_V), tl.float32)
        for start in range(0, joints * LINE, BLOCK_N):
            pair = start + tl.arange(0, BLOCK_N)
            u, v = pair // LINE, pair % LINE
            related = relations_of_pairs(
                relations, block, subset, pair, joints, S, R, LINE, FINE, BLOCK_D
            )  # fmt: skip
            g = tl.load(base + pair[None, :], some[:, None] & (pair < joints * LINE)[None, :], 0.0)
            sum_refine = multiply_add(g, narrow(tl.trans(related), kind), sum_refine, PRECISION)
            product = multiply(weight, g, PRECISION)
            own = tl.sum(tl.where((r == R)[:, None], product, 0.0), 0)
            # The program adds to what it wrote for the instance before.
            at = to_own + u * joints + v
            later = tl.where(instance > split, joints, 0)
            own += tl.load(at, (u < later) & (v < joints), 0.0)
            tl.store(at, own, (u < joints) & (v < joints))
            slope = tl.where(real[:, None], product * (1.0 - related * related), 0.0)
            slope = narrow(slope, kind)
            received = tl.where(u[:, None] == joint[None, :], 1.0, 0.0).to(kind)
            sent = tl.where(v[:, None] == joint[None, :], 1.0, 0.0).to(kind)
            g_query = multiply_add(slope, received, g_query, PRECISION)
            g_key = multiply_add(slope, sent, g_key, PRECISION)
        average = load_tile(
            mean + block.to(tl.int64) * channels * joints, channel, channels, joint, joints
        )
        average = tl.trans(average)
        sum_query = multiply_add(g_query, average, sum_query, FINE)
        sum_key = multiply_add(g_key, average, sum_key, FINE)
        query_bias += tl.sum(g_query, 1)
        key_bias += tl.sum(g_key, 1)
        at = grad_relations + (block.to(tl.int64) * 2 * S + subset) * R * joints
        at += r[:, None] * joints + joint[None, :]
        mask = real[:, None] & (joint < joints)[None, :]
        tl.store(at, g_query, mask)
        tl.store(at + S * R * joints, -g_key, mask)
        tl.debug_barrier()  # before the sums of the adjacency are read again
    own = (group * S + subset) * R + r
    at = own[:, None] * channels + channel[None, :]
    mask = real[:, None] & (channel < channels)[None, :]
    tl.store(to + at, sum_query, mask)
    tl.store(to + depth * channels + own, query_bias, real)
    at_refine = place[:, None] * R + r[None, :]
    tl.store(to_refine + at_refine, sum_refine, some[:, None] & real[None, :])
    bias = tl.sum(tl.where((r == R)[None, :], sum_refine, 0.0), 1)
    tl.store(to_refine + outputs * R + place, bias, some)
    to = to_refine + outputs * (R + 1) + groups * S * pairs
    tl.store(to + at, -sum_key, mask)
    tl.store(to + depth * channels + own, -key_bias, real)


@triton.jit
def features_kernel(
    grad_values,
    value_weight,
    grad_relations,
    query_weight,
    key_weight,
    grad_x,
    groups,
    channels,
    rows,
    depth,
    joints,
    frames,
    PRECISION: tl.constexpr,
    FINE: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Gradient to the features of a group of an instance, ``(C, V·T)``, through the values and
    through queries and keys of the mean over time.
    """
    block, group = tl.program_id(1), tl.program_id(1) % groups
    place = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    channel = tl.arange(0, BLOCK_C)
    r = tl.arange(0, BLOCK_R)
    joint, places = place // frames, joints * frames
    base = grad_relations + block.to(tl.int64) * 2 * depth * joints
    base += r[:, None] * joints + joint[None, :]
    inside = (r < depth)[:, None] & (place < places)[None, :]
    at = (group * depth + r)[None, :] * channels + channel[:, None]
    some = (channel < channels)[:, None] & (r < depth)[None, :]
    query = tl.load(query_weight + at, some, 0.0).to(tl.float32)
    key = tl.load(key_weight + at, some, 0.0).to(tl.float32)
    total = multiply(query, tl.load(base, inside, 0.0), FINE)
    total = multiply_add(key, tl.load(base + depth * joints, inside, 0.0), total, FINE) / frames
    base = grad_values + block.to(tl.int64) * rows * places
    for start in range(0, rows, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        w = tl.load(
            value_weight + (group * rows + k)[None, :] * channels + channel[:, None],
            (channel < channels)[:, None] & (k < rows)[None, :],
            0.0,
        )
        g = load_tile(base, k, rows, place, places)
        total = multiply_add(narrow(w.to(tl.float32), g.dtype), g, total, PRECISION)
    to = (block.to(tl.int64) * channels + channel[:, None]) * places + place[None, :]
    mask = (channel < channels)[:, None] & (place < places)[None, :]
    tl.store(grad_x + to, narrow(total, grad_x.dtype.element_ty), mask)
