"""Resamples a window of a clip to a fixed number of frames."""

from __future__ import annotations

import numpy as np

from .base import (
    SKELETONS,
    BodyHandTransform,
    get_known,
    get_part,
    is_count,
    is_number,
    is_pair,
    set_known,
    set_part,
)


class SampleWindow(BodyHandTransform):
    """Cuts one window out of the valid range and resamples it to ``num_frames`` frames.

    Bodies, hands, pixels and frame numbers have the same window. The valid range of n frames goes
    from the first to the last frame in which a body is visible. If no body ever is, hands are used;
    if neither is, the whole clip.

    - ``window=(low, high)``: random. The length is ``floor(p n)`` with p uniform in [low, high],
      but at least ``min_frames`` and at most n; the place is uniform. As in the feeder of CTR-GCN
      and DeGCN.
    - ``window=p``: centred; ``floor((1 - p) n / 2)`` frames are cut off at either end.

    ``method='resize'``: output frame t of a window of L frames lies at ``s = (t + 1/2) L /
    num_frames - 1/2``, kept within [0, L - 1] (linear interpolation without aligned corners).
    Between two visible frames the value is linear. Next to a missing frame, the visible one is
    taken if it is at most half a frame away. Otherwise the output frame is missing, and so it is
    between two missing frames.

    ``method='uniform'``: the window is cut into ``num_frames`` equal pieces, and one frame is taken
    from each: a random one with a random window, otherwise the middle one. A window with fewer
    frames repeats frames in order.

    ``method='draw'``: with a random window, ``num_frames`` frames of it are drawn with replacement
    and put in order, so that the pace varies from moment to moment; with a centred one as
    'uniform'. Public recipes for N-UCLA draw so from the whole clip.

    Required Keys:

        - body, body_visible, body_layout, hand, hand_visible, hand_layout, frame_index
        - body_pixel, body_joint_visible, hand_joint_visible (optional)

    Modified Keys:

        - body, body_visible, hand, hand_visible, body_pixel: T becomes ``num_frames``
        - body_joint_visible, hand_joint_visible: as in the source frame nearest to each output
          frame
        - frame_index: (num_frames,), the source frame nearest to each output frame

    ``warp=K`` warps time in a random window. It is meant for models that are used on clips with
    another trimming or pace. The window is cut at K - 1 random places, all divisions being equally
    likely, and each piece gets 1 / K of the output. With ``u = (t + 1/2) / num_frames`` and the
    pieces' ends ``e_0 = 0 <= ... <= e_K = 1`` the output frame lies at ``s = e(K u) L - 1/2``, e
    being linear between them.

    ``total_frames`` remains the length of the clip in the store.

    Args:
        num_frames: Number of frames T of the output. Defaults to 64.
        window: Pair for a random window, number for a centred one; fractions in (0, 1]. Defaults
            to (0.5, 1.0).
        min_frames: Least number of frames of a random window. Defaults to ``num_frames``, as in
            that feeder. Shorter clips are then taken as a whole.
        method: 'resize', 'uniform' or 'draw'. Defaults to 'resize'.
        warp: Pieces of the time warp; needs a random window and 'resize'. Defaults to 1: none.
    """

    def __init__(
        self,
        num_frames: int = 64,
        window: tuple[float, float] | float = (0.5, 1.0),
        min_frames: int | None = None,
        method: str = 'resize',
        warp: int = 1,
    ) -> None:
        self.num_frames = num_frames
        self.window = window
        self.min_frames = min_frames
        self.method = method
        self.warp = warp
        self._check(is_count(num_frames), 'num_frames', 'a whole number of at least 1')
        self._check(
            is_pair(window, 0, 1) and window[0] > 0 or is_number(window, 0, 1) and window > 0,
            'window',
            'a fraction in (0, 1], or two of them in ascending order',
        )
        self._check(
            min_frames is None or is_count(min_frames),
            'min_frames',
            'None or a whole number of at least 1',
        )
        self._check(
            method in ('resize', 'uniform', 'draw'), 'method', "'resize', 'uniform' or 'draw'"
        )
        self._random = not is_number(window)
        self._check(
            is_count(warp) and (warp == 1 or self._random and method == 'resize'),
            'warp',
            "a whole number of at least 1, and 1 without a random window and method='resize'",
        )
        self._least = num_frames if min_frames is None else min_frames
        self._odd = 2 * np.arange(num_frames) + 1
        self._even = np.linspace(0, 2 * num_frames, warp + 1)

    def transform(self, results: dict) -> dict:
        """Resamples the window of ``results`` to ``num_frames`` frames."""
        start, length = self._place(results)
        weight = None
        if self.method == 'draw' and self._random:
            low = np.sort(np.random.randint(length, size=self.num_frames)) + start
            high = nearest = low
        elif self.method != 'resize':
            offset = 2 * np.random.random(self.num_frames) - 1 if self._random else 0
            index = ((self._odd + offset) * length / (2 * self.num_frames)).astype(np.intp)
            low = high = nearest = np.minimum(index, length - 1) + start
        else:
            # Whole numbers are used up to the division, so that frames are met exactly.
            odd = self._odd if self.warp == 1 else self._bend()
            position = (odd * length - self.num_frames) / (2 * self.num_frames)
            position = np.minimum(np.maximum(position, 0), length - 1)
            low = position.astype(np.intp)
            weight = (position - low).astype(np.float32)
            high = np.minimum(low + 1, length - 1) + start
            low += start
            nearest = np.where(weight <= 0.5, low, high)
        for part in SKELETONS:
            x, visible, _ = get_part(results, part)
            if part == 'body' and results.get('body_pixel') is not None:
                pixel = results['body_pixel']
                results['body_pixel'] = _sample(pixel, visible, low, high, weight)[0]
            set_part(results, part, *_sample(x, visible, low, high, weight))
            known = get_known(results, part)
            if known is not None:
                set_known(results, part, known[:, nearest])
        results['frame_index'] = results['frame_index'][nearest]
        return results

    def _bend(self) -> np.ndarray:
        """``2 num_frames e(K u)``; without a warp these are the odd numbers."""
        ends = np.sort(np.random.random(self.warp - 1))
        ends = np.concatenate(([0.0], ends, [1.0])) * 2 * self.num_frames
        return np.interp(self._odd, self._even, ends)

    def _place(self, results: dict) -> tuple[int, int]:
        """First frame and length of the window."""
        begin, end = 0, results['body'].shape[1]
        for part in SKELETONS:
            visible = results[f'{part}_visible']
            shown = visible.reshape(-1, end).any(axis=0).nonzero()[0]
            if len(shown):
                begin, end = int(shown[0]), int(shown[-1]) + 1
                break
        valid = end - begin
        if not self._random:
            cut = int((1 - self.window) * valid / 2 + 1e-9)  # 1 - 0.9 is less than 0.1
            return begin + cut, valid - 2 * cut
        share = np.random.uniform(*self.window)
        length = min(max(int(share * valid), self._least), valid)
        return begin + np.random.randint(valid - length + 1), length


def _sample(
    x: np.ndarray,
    visible: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    weight: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Instances (I, T, V, C) and visibility (I, T) at frames (n,) between ``low`` and ``high``.

    ``weight`` in [0, 1) is the share of ``high``; None takes the frames ``low``.
    """
    num, frames = visible.shape
    shape = (num, len(low), *x.shape[2:])
    if not visible.any():
        return np.zeros(shape, dtype=x.dtype), np.zeros(shape[:2], dtype=bool)
    rows = x.reshape(num * frames, -1)
    first = np.arange(num)[:, None] * frames
    if weight is None:
        return rows.take(first + low, axis=0).reshape(shape), visible[:, low]
    at_low, at_high = visible[:, low], visible[:, high]
    sampled_visible = both = at_low & at_high
    if not both.all():
        sampled_visible = both | (at_low & (weight <= 0.5)) | (at_high & (weight >= 0.5))
        # Next to a missing frame both ends are the visible one, so the missing one has no
        # influence.
        low, high = np.where(at_low, low, high), np.where(at_high, high, low)
    start = rows.take(first + low, axis=0)
    sampled = rows.take(first + high, axis=0)
    sampled -= start
    sampled *= weight[:, None]
    sampled += start
    return sampled.reshape(shape), sampled_visible
