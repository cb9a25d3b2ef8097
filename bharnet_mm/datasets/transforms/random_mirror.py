"""Randomly mirrors a clip left to right."""

from __future__ import annotations

import numpy as np

from .base import SKELETONS, BodyHandTransform, is_number


class RandomMirror(BodyHandTransform):
    """Mirrors a clip: negates x, exchanges left and right joints, and exchanges the two hands.

    ``x -> 2 axis - x``, then each joint takes the place of its counterpart in the layout's
    ``swaps``; the two hands are exchanged with their visibility. The x of pixels becomes ``width -
    1 - x``, as in a flipped image. Mirroring twice gives the original clip.

    In canonical hand space (see ``NormalizeSkeleton``) left hands are mirrored already, so the
    hands are only exchanged. The transform can come before or after ``NormalizeSkeleton`` if both
    mirror at the same ``axis``.

    ``axis`` is the x of the mirror plane in the coordinates *at this place in the pipeline*: 0 for
    metres in a camera's frame and after ``NormalizeSkeleton`` has centred the coordinates, 0.5 for
    raw fractions of an image.

    Required Keys:

        - body, body_layout, hand, hand_visible, hand_layout
        - hand_space, mirrored, body_joint_visible, hand_joint_visible (optional)
        - body_pixel, image_size (optional)
        - rgb, rgb_mask, rgb_grid (optional): from ``CutRegions``

    Modified Keys:

        - body, hand, hand_visible, body_pixel, body_joint_visible, hand_joint_visible
        - rgb, rgb_mask: those of the flipped video

    Added Keys:

        - mirrored: whether the clip is now a mirror image of its video

    Args:
        prob: Probability of mirroring a clip. Defaults to 0.5.
        axis: x of the mirror plane, one number or a dict with one for 'body' and one for 'hand'.
            Defaults to 0.

    Raises:
        ClipError: The clip has pixels but no image width.
        ConfigError: The region grid has only one side of a part.
    """

    def __init__(self, prob: float = 0.5, axis: float | dict[str, float] = 0.0) -> None:
        self.prob = prob
        self.axis = axis
        self._check(is_number(prob, 0, 1), 'prob', 'a probability')
        planes = axis if isinstance(axis, dict) else dict.fromkeys(SKELETONS, axis)
        self._check(
            set(planes) == set(SKELETONS) and all(is_number(value) for value in planes.values()),
            'axis',
            "a number, or a dict with one for 'body' and one for 'hand'",
        )
        self._double = {part: 2.0 * float(value) for part, value in planes.items()}

    def transform(self, results: dict) -> dict:
        """Mirrors ``results`` with the given probability."""
        mirrored = results.get('mirrored', False)
        results['mirrored'] = mirrored
        if np.random.random() >= self.prob:
            return results
        results['mirrored'] = not mirrored

        swap = results['body_layout'].swap_index
        body = results['body'].take(swap, axis=2)
        np.subtract(self._double['body'], body[..., 0], out=body[..., 0])
        results['body'] = body

        if results.get('body_joint_visible') is not None:
            results['body_joint_visible'] = results['body_joint_visible'].take(swap, axis=2)
        if results.get('hand_joint_visible') is not None:
            known = results['hand_joint_visible'].take((1, 0), axis=1)
            results['hand_joint_visible'] = known.take(results['hand_layout'].swap_index, axis=3)

        if results['hand_visible'].any():
            hand = results['hand'].take((1, 0), axis=1)
            if results['hand_layout'].swaps:
                hand = hand.take(results['hand_layout'].swap_index, axis=3)
            if results.get('hand_space') != 'canonical':
                np.subtract(self._double['hand'], hand[..., 0], out=hand[..., 0])
            results['hand'] = hand
            results['hand_visible'] = results['hand_visible'].take((1, 0), axis=1)

        if results.get('body_pixel') is not None:
            width = results['image_size'][0]
            if width <= 0:
                raise self._clip_error(
                    results,
                    f'pixels but image_size {tuple(results["image_size"])}',
                    'the width and height of the video',
                    'store image_size with the clip, or drop body_pixel',
                )
            pixel = results['body_pixel'].take(swap, axis=2)
            np.subtract(float(width - 1), pixel[..., 0], out=pixel[..., 0])
            results['body_pixel'] = pixel

        if 'rgb' in results:
            results['rgb'], results['rgb_mask'] = results['rgb_grid'].mirror(
                results['rgb'], results['rgb_mask']
            )
        return results
