"""Units of coordinates, and the conversion of image fractions to one unit.

A fraction of an image's width and one of its height are different lengths unless the image is
square. Angles, distances and rotations need one unit. So before any geometric computation y is
multiplied by height / width; x and z remain fractions of the width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..layouts import SkeletonLayout
    from .clip import Clip

#: ``fraction``: x of the image's width, y of its height, z of its width. ``width``: all are
#: fractions of the width. ``crop``: fractions of a square around the body or hand. ``''``: unknown.
#: Only ``fraction`` is converted.
UNITS = ('metre', 'pixel', 'fraction', 'width', 'crop', '')


def square(x: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Image fractions in units of the image's width.

    Args:
        x: Fractions, (..., C), x and y first.
        image_size: (width, height) in pixels.

    Returns:
        A copy of ``x`` with y multiplied by height / width; ``x`` itself if the size is unknown
        or the image is square.
    """
    width, height = image_size
    if not width or not height or width == height or x.shape[-1] < 2:
        return x
    x = x.copy()
    x[..., 1] *= np.float32(height / width)
    return x


def infer_units(
    clips: Iterable[Clip], body: SkeletonLayout, hand: SkeletonLayout | None
) -> tuple[str, str]:
    """Units of bodies and hands, inferred from the values of the clips, for stores that do not
    record them.

    Only clips with an image size are used, because the unit matters only for these.

    - Bodies are in fractions if fraction times size is the joint's pixel position, or, without
      pixel positions, if nearly all joints lie in [0, 1].
    - Hands are in fractions if their wrists lie at the body's wrists, both read as fractions.

    Returns:
        ``'fraction'`` or ``''`` for the bodies and for the hands.
    """
    clips = [clip for clip in clips if all(clip.image_size)]
    body_unit = 'fraction' if clips and _bodies_are_fractions(clips) else ''
    hand_unit = ''
    if hand is not None and clips and _hands_are_fractions(clips, body, hand, body_unit):
        hand_unit = 'fraction'
    return body_unit, hand_unit


def _bodies_are_fractions(clips: list[Clip]) -> bool:
    errors, points = [], []
    for clip in clips:
        visible = clip.body_score > 0
        xy = clip.body[visible][..., :2]
        if xy.shape[-1] == 2 and clip.body_pixel is not None:
            pixel = clip.body_pixel[visible]
            error = np.abs(xy * np.float32(clip.image_size) - pixel).max(axis=-1)
            errors.append(error[~(pixel == -1).all(axis=-1)].ravel() / max(clip.image_size))
        elif xy.shape[-1] == 2:
            points.append(xy.reshape(-1, 2))
    if errors and sum(map(len, errors)):
        return bool(np.median(np.concatenate(errors)) < 0.01)
    if not points or not sum(map(len, points)):
        return False
    low, middle, high = np.nanquantile(np.concatenate(points), (0.05, 0.5, 0.95), axis=0)
    # In metres about half of the values are negative. Guessed legs may lie a little outside [0, 1].
    inside = (low > -0.1).all() and (middle > 0.05).all() and (middle < 1.1).all()
    return bool(inside and (high < 3.0).all())


def _hands_are_fractions(
    clips: list[Clip], body: SkeletonLayout, hand: SkeletonLayout, body_unit: str
) -> bool:
    """Whether hands lie at the wrists of the body, both read as image fractions."""
    if not {'left_wrist', 'right_wrist'} <= set(body.parts):
        return False
    wrists = [body.part_index(f'{side}_wrist')[0] for side in ('left', 'right')]
    a, b = body.scale_index
    ratios = []
    for clip in clips:
        size = np.float32(clip.image_size)
        if clip.body_pixel is not None:
            points = clip.body_pixel
        elif body_unit == 'fraction':
            points = clip.body[..., :2] * size
        else:
            continue
        if clip.hand.shape[-1] < 2:
            continue
        at = points[:, :, wrists].transpose(0, 2, 1, 3)  # (M, 2, T, 2)
        tips = clip.hand[:, :, :, hand.index(hand.root), :2] * size
        unit = np.linalg.norm(points[:, :, a] - points[:, :, b], axis=-1)[:, None]
        both = (clip.hand_score > 0) & (clip.body_score > 0)[:, None] & (unit > 1e-6)
        ratio = np.linalg.norm(tips - at, axis=-1) / np.maximum(unit, 1e-6)
        ratios.append(ratio[both & np.isfinite(ratio)])
    ratios = np.concatenate(ratios) if ratios else np.empty(0)
    return bool(len(ratios)) and float(np.median(ratios)) < 0.5
