"""Normalises origin, axes and size of bodies or hands."""

from __future__ import annotations

import math

import numpy as np

from bharnet_mm.anatomy import body_axes
from bharnet_mm.layouts import SkeletonLayout

from .base import (
    SKELETONS,
    BodyHandTransform,
    clip_scale,
    get_known,
    get_part,
    is_number,
    neighbours,
    prefer,
    scale_lengths,
    set_part,
)


class NormalizeSkeleton(BodyHandTransform):
    """Centres, rotates and scales the coordinates of bodies or hands, based on visible frames only.

    ``x -> R (x - c) / s`` with

    - ``center``, c: mean of the layout's ``center`` joints. 'first': in the first visible frame.
      The centre of person 0 (the first person ever visible) is used for all persons, which keeps
      their distances; each hand has its own centre. 'frame': in each frame, for each body or hand.
      'none': 0.
    - ``space``, R. 'native' leaves the axes. 'canonical' for the body: the spine (``spine_base`` to
      ``spine_mid``, or the middle of the hips to that of the shoulders if the layout has no spine)
      becomes z; the direction from left to right shoulder, made perpendicular to it, becomes x.
      Both are taken from the same person, in the first visible frame that has them. 'canonical' for
      hands: left hands are mirrored, ``x -> 2 axis - x``, so that all look like right ones;
      ``RandomMirror`` then only exchanges the two.
    - ``scale``, s: distance of the layout's ``scale`` joints. 'first': in the first visible frame;
      'clip': its mean over the visible frames; person 0's distance is used for all bodies, and each
      hand has its own. 'frame': in each frame, for each body or hand. 'none': 1. Frames with
      distance zero are not used; 'frame' then takes the nearest other frame.

    A joint that was only filled is not used for centre or length if it is known in another frame.

    A body or hand without a usable distance is not scaled, and a body without usable axes is not
    rotated. Such clips are counted in ``num_untreated`` and the first one is logged.

    Required Keys:

        - body or hand with its visibility and layout, e.g. hand, hand_visible, hand_layout
        - hand_space, body_joint_visible, hand_joint_visible (optional)

    Modified Keys:

        - the part

    Added Keys:

        - hand_space: 'canonical' if requested; hands are then not mirrored a second time

    Args:
        part: 'body' or 'hand'.
        space: 'native' or 'canonical'. Defaults to 'native'.
        center: 'none', 'first' or 'frame'. Defaults to 'none'.
        scale: 'none', 'first', 'clip' or 'frame'. Defaults to 'none'.
        axis: x of the plane at which left hands are mirrored. It matters only for canonical hands
            with ``center='none'``, and should then equal that of ``RandomMirror``: 0.5 for
            fractions of an image. Defaults to 0.

    Raises:
        ClipError: A canonical body without three channels, or without shoulders and spine or hips.
    """

    def __init__(
        self,
        part: str,
        space: str = 'native',
        center: str = 'none',
        scale: str = 'none',
        axis: float = 0.0,
    ) -> None:
        self.part = part
        self.space = space
        self.center = center
        self.scale = scale
        self.axis = axis
        self._check(part in SKELETONS, 'part', "'body' or 'hand'")
        choices = {
            'space': ('native', 'canonical'),
            'center': ('none', 'first', 'frame'),
            'scale': ('none', 'first', 'clip', 'frame'),
        }
        for argument, allowed in choices.items():
            self._check(getattr(self, argument) in allowed, argument, f'one of {allowed}')
        self._check(is_number(axis), 'axis', 'a number')
        self._double = 0.0 if center != 'none' else 2.0 * axis

    def transform(self, results: dict) -> dict:
        """Centres, scales and rotates the body or the hands of ``results``."""
        source, visible, layout = get_part(results, self.part)
        canonical = self.space == 'canonical'
        mirror = canonical and self.part == 'hand' and results.get('hand_space') != 'canonical'
        if mirror:
            results['hand_space'] = 'canonical'
        if not visible.any():
            return results
        x = source
        known = get_known(results, self.part)
        if self.center != 'none':
            usable = visible if known is None else prefer(visible, known[:, :, layout.center_index])
            x = x - self._origin(x, usable, layout)
        if mirror:
            x = x.copy() if x is source else x
            np.subtract(self._double, x[::2, ..., 0], out=x[::2, ..., 0])
        elif canonical and self.part == 'body':
            rotation = self._rotation(results, x, visible, layout)
            x = (x.reshape(-1, 3) @ rotation.T).reshape(x.shape)
        if self.scale != 'none':
            factor = 1 / self._size(results, x, visible, layout)
            x = np.multiply(x, factor[:, :, None, None], out=None if x is source else x)
        set_part(results, self.part, x)
        return results

    def _origin(self, x: np.ndarray, visible: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
        """The centre c, which broadcasts with (I, T, V, C)."""
        index = layout.center_index
        if self.center == 'frame':
            if len(index) == 1:
                return x[:, :, index[0], None]
            return x[:, :, index].mean(axis=2, keepdims=True)
        first = visible.argmax(axis=1)
        if self.part == 'body':
            person = _first_visible(visible)
            return x[person, first[person], index].mean(axis=0)
        own = x[np.arange(len(x))[:, None], first[:, None], index]
        return own.mean(axis=1)[:, None, None]

    def _size(
        self, results: dict, x: np.ndarray, visible: np.ndarray, layout: SkeletonLayout
    ) -> np.ndarray:
        """The size s, (I or 1, T or 1)."""
        lengths, valid = scale_lengths(x, visible, layout, get_known(results, self.part))
        found = valid.any(axis=1)
        shared = self.part == 'body' and self.scale != 'frame'
        # One person's length is used for all bodies. Hands and the scale 'frame' have their own.
        if not (found.any() if shared else (found | ~visible.any(axis=1)).all()):
            self._count(results, f'no length between {layout.scale} to scale a {self.part} by')
        if shared:
            person = _first_visible(valid)
            lengths, valid = lengths[person, None], valid[person, None]
        if self.scale == 'clip':
            return clip_scale(lengths, valid)[0][:, None]
        if self.scale == 'frame':
            if valid.all():
                return lengths
            before, after = neighbours(valid)
            time, frames = np.arange(valid.shape[1]), valid.shape[1]
            earlier = (before >= 0) & ((time - before <= after - time) | (after == frames))
            chosen = np.where(earlier, before, np.minimum(after, frames - 1))
        else:
            chosen = valid.argmax(axis=1)[:, None]
        lengths = np.take_along_axis(lengths, chosen, axis=1)
        return np.where(valid.any(axis=1)[:, None], lengths, np.float32(1))

    def _rotation(
        self, results: dict, x: np.ndarray, visible: np.ndarray, layout: SkeletonLayout
    ) -> np.ndarray:
        """Rotation matrix (3, 3) float32; its rows are the new axes in the old coordinates."""
        if x.shape[-1] != 3:
            raise self._clip_error(
                results,
                f'{x.shape[-1]} channels in the body',
                '3, to turn it in space',
                "use space='native' for a body in the image plane",
            )
        axes = body_axes(layout)
        if axes is None:
            raise self._clip_error(
                results,
                f'body layout {layout.name!r} without shoulders, or without spine and hips',
                'the joints left_shoulder and right_shoulder, and spine_base and spine_mid or '
                'left_hip and right_hip',
                "use space='native', or say in the layout's parts which joints these are",
            )
        person = _first_visible(visible)
        for joints in x[person, visible[person]]:  # usually the first frame is enough
            left, right, low, high = (joints[i].mean(0, dtype=np.float64) for i in axes)
            side, up = right - left, high - low
            forward = _cross(up, side)
            # They span a plane unless one is zero or they are parallel.
            area, length = math.hypot(*forward), math.hypot(*up)
            if area > 1e-6 * length * math.hypot(*side):
                y, z = forward / area, up / length
                return np.array([_cross(y, z), y, z], np.float32)
        self._count(results, 'no spine and shoulders to turn the body by')
        return np.eye(3, dtype=np.float32)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cross product of two vectors (numpy's takes ten times as long for one)."""
    (a0, a1, a2), (b0, b1, b2) = a.tolist(), b.tolist()
    return np.array((a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0))


def _first_visible(mask: np.ndarray) -> int:
    """First instance (I, T) with any true frame; 0 if there is none."""
    return int(mask.any(axis=1).argmax())
