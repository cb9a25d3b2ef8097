"""Single joints that are missing in a visible body or hand.

Pose estimators and trackers write a joint that they did not find as zeros, as NaN, or anywhere with
a confidence of 0. Such a joint has no position. It is filled from frames in which it is visible, so
that no computation uses the zeros as a position. The joint scores still mark it as missing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..layouts import SkeletonLayout

if TYPE_CHECKING:
    from .clip import Clip

#: Longest gap of a joint that is interpolated, in frames, as in ``InterpolateMissing``.
MAX_GAP = 8
#: Least score of a joint that is not missing, so that rounding does not make it 0.
MIN_SCORE = 1e-3


def neighbours(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each frame of a mask (I, T), the nearest true frame at or before it, and at or after it.

    Returns:
        Two (I, T) index arrays; -1 and T if there is none.
    """
    time = np.arange(mask.shape[1])
    before = np.maximum.accumulate(np.where(mask, time, -1), axis=1)
    after = np.where(mask, time, len(time))[:, ::-1]
    return before, np.minimum.accumulate(after, axis=1)[:, ::-1]


def joint_scores(
    x: np.ndarray, visible: np.ndarray, score: np.ndarray | None = None
) -> np.ndarray | None:
    """Confidence of each joint, 0 if it is missing.

    A joint of a visible frame is missing if its score is 0 or not a number, a coordinate is not
    finite, or all of its coordinates are 0. The last rule is not used for a joint that is the
    origin of centred coordinates: it is 0 in all frames, and other joints are negative.

    Args:
        x: (..., T, V, C) coordinates.
        visible: (..., T) bool.
        score: (..., T, V) confidences in [0, 1], None if the source has none.

    Returns:
        (..., T, V) float32, or None if the source has no scores and no joint is missing.
    """
    frames = visible[..., None]
    gone = (x[..., 0] == 0) & frames
    if gone.any():
        gone &= (x == 0).all(axis=-1)
        always = (gone | ~frames).all(axis=tuple(range(gone.ndim - 1)))
        if always.sum() == 1 and visible.any() and np.nanmin(x[visible]) < 0:
            gone[..., always] = False
    if not np.isfinite(x).all():
        gone |= ~np.isfinite(x).all(axis=-1) & frames
    if score is None:
        return np.where(gone | ~frames, np.float32(0), np.float32(1)) if gone.any() else None
    score = np.nan_to_num(np.asarray(score, np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    return np.where((score > 0) & ~gone & frames, score.clip(MIN_SCORE, 1), np.float32(0))


def fill_joints(
    x: np.ndarray,
    visible: np.ndarray,
    known: np.ndarray,
    layout: SkeletonLayout,
    max_gap: int = MAX_GAP,
) -> np.ndarray:
    """Fills the missing joints of visible frames.

    A gap of at most ``max_gap`` frames is filled linearly between the frames at both ends. In a
    longer gap, and at the ends of a clip, the joint is copied from the nearest frame that has it.
    If no frame has it, it is put at the nearest known joint toward the root of the bone tree, or
    else at the mean of the other joints.

    Args:
        x: (I, T, V, C) coordinates.
        visible: (I, T) bool.
        known: (I, T, V) bool, False for missing joints.
        layout: Layout with the bone tree.
        max_gap: Longest gap that is interpolated, in frames.

    Returns:
        A copy of ``x``, or ``x`` itself if nothing is missing.
    """
    known = known & visible[..., None]
    lost = visible[..., None] & ~known
    if not lost.any():
        return x
    x = x.copy()
    ever = known.any(axis=1)  # (I, V)
    i, v = (lost.any(axis=1) & ever).nonzero()
    if len(i):
        mask = known[i, :, v]  # (K, T)
        before, after = neighbours(mask)
        time, frames = np.arange(mask.shape[1]), mask.shape[1]
        low, high = np.maximum(before, 0), np.minimum(after, frames - 1)
        inner = (before >= 0) & (after < frames)
        linear = inner & (after - before - 1 <= max_gap)
        nearer = np.where(time - before <= after - time, low, high)
        nearer = np.where(inner, nearer, np.where(before >= 0, low, high))
        k, t = lost[i, :, v].nonzero()
        series = x[i, :, v]  # (K, T, C)
        a = np.where(linear, low, nearer)[k, t]
        b = np.where(linear, high, nearer)[k, t]
        weight = ((t - a) / np.maximum(b - a, 1)).astype(x.dtype)[:, None]
        start = series[k, a]
        x[i[k], t, v[k]] = start + weight * (series[k, b] - start)
    never = visible.any(axis=1)[:, None] & ~ever
    for i, v in zip(*never.nonzero(), strict=True):
        at = _nearest_ancestor(v, ever[i], layout)
        if at is not None:
            x[i, :, v] = x[i, :, at]
        elif ever[i].any():
            x[i, :, v] = x[i][:, ever[i]].mean(axis=1)
        else:
            x[i, :, v] = 0
    return x


def _nearest_ancestor(v: int, ever: np.ndarray, layout: SkeletonLayout) -> int | None:
    parents = layout.parent_index
    while parents[v] != v:
        v = int(parents[v])
        if ever[v]:
            return v
    return None


def with_joints_filled(
    clip: Clip,
    body_layout: SkeletonLayout,
    hand_layout: SkeletonLayout | None,
    min_score: float = 0.0,
) -> Clip:
    """The clip with its missing joints filled.

    See :func:`fill_joints`. Pixel positions of such joints become (-1, -1), outside the image, so
    that regions and wrist crops ignore them. Joint scores are not changed.

    Args:
        clip: A clip, with joint scores if its source has them.
        body_layout: Layout of the bodies.
        hand_layout: Layout of the hands; None if there are none.
        min_score: A joint is missing unless its score is above this.
    """
    changed = {}
    for part, layout in (('body', body_layout), ('hand', hand_layout)):
        score = getattr(clip, f'{part}_joint_score')
        if score is None or layout is None:
            continue
        x, visible, known = (
            getattr(clip, part),
            getattr(clip, f'{part}_score') > 0,
            score > min_score,
        )
        flat = x.reshape(-1, *x.shape[-3:])
        filled = fill_joints(
            flat,
            visible.reshape(-1, visible.shape[-1]),
            known.reshape(-1, *known.shape[-2:]),
            layout,
        )
        if filled is not flat:
            changed[part] = filled.reshape(x.shape)
        if part == 'body' and clip.body_pixel is not None and not known.all():
            changed['body_pixel'] = np.where(known[..., None], clip.body_pixel, np.float32(-1))
    return replace(clip, **changed) if changed else clip
