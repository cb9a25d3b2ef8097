"""Finds hands that disagree with the skeleton's wrists in the image."""

from __future__ import annotations

import numpy as np

from ...datasets.clip import Clip
from ...datasets.regions import forearm_length
from ...layouts import SkeletonLayout

#: Distance between a hand's wrist and the skeleton's, in forearm lengths, from which they disagree.
#: Extraction assigns no hand beyond it, except those found by its second opinion.
ELSEWHERE = 0.6


def wrists_elsewhere(clip: Clip, layout: SkeletonLayout) -> tuple[np.ndarray, np.ndarray]:
    """Which hands can be compared with the skeleton's wrists in the image, and which lie elsewhere.

    Args:
        clip: With hands in fractions of the image, ``body_pixel`` and a size; else nothing is
            compared.
        layout: Layout of the body.

    Returns:
        Two arrays ``(M, 2, T)`` of bool.
    """
    compared = np.zeros(clip.hand_score.shape, bool)
    names = ['left_wrist', 'right_wrist']
    usable = clip.body_pixel is not None and all(clip.image_size) and clip.units[1] == 'fraction'
    if not usable or not set(names) <= set(layout.joints):
        return compared, compared
    pixel = clip.body_pixel.astype(np.float64)
    known = np.isfinite(pixel).all(axis=-1) & ~(pixel == -1).all(axis=-1)
    known &= (clip.body_score > 0)[..., None]
    pixel = np.where(known[..., None], pixel, 0)
    size = forearm_length(pixel, known, layout)[:, None]  # (M, 1, T)
    index = [layout.index(name) for name in names]
    own = pixel[:, :, index].swapaxes(1, 2)  # (M, 2, T, 2)
    there = known[:, :, index].swapaxes(1, 2)
    hand = clip.hand[..., 0, :2] * np.array(clip.image_size)
    compared = (clip.hand_score > 0) & there & (size > 0)
    apart = np.linalg.norm(np.where(compared[..., None], hand - own, 0), axis=-1)
    return compared, compared & (apart > ELSEWHERE * size)
