"""Removes hands at rest, and the frames before and after the action."""

from __future__ import annotations

import numpy as np

from .base import BodyHandTransform, clip_scale, get_part, is_number, scale_lengths


class KeepRaisedHands(BodyHandTransform):
    """Marks lowered hands as missing, and all frames before and after a hand is raised.

    Clips of many data sets begin and end within the action, and their images end at the chest, so a
    hand at rest is never visible. In other videos the person stands still before and after, and the
    resting hand is in the image. This transform makes such a video similar to those clips.

    A hand is raised if its root joint lies at most ``reach`` body scales below the body's centre
    (the layout's ``center`` and ``scale``; in most layouts these are the middle and the distance of
    the shoulders). Lowered hands become missing, and so do bodies and hands before the first and
    after the last frame in which a hand is raised. ``SampleWindow`` then takes the frames between.
    A clip in which no hand is ever raised keeps all of its frames.

    Bodies and hands must be in one coordinate system whose y points down, as image coordinates
    do.

    Required Keys:

        - body, body_visible, body_layout, hand, hand_visible, hand_layout

    Modified Keys:

        - body_visible, hand_visible

    Args:
        reach: Above 0. Defaults to 1.0.
    """

    def __init__(self, reach: float = 1.0) -> None:
        self.reach = reach
        self._check(is_number(reach) and reach > 0, 'reach', 'a number above 0')

    def transform(self, results: dict) -> dict:
        """Keeps those frames of ``results`` in which a hand is raised."""
        body, visible, layout = get_part(results, 'body')
        hand, hand_visible = results['hand'], results['hand_visible']
        if not hand_visible.any() or not visible.any():
            return results
        size = clip_scale(*scale_lengths(body, visible, layout))[0]
        center = body[:, :, layout.center_index, 1].mean(axis=2)  # (M, T)
        root = results['hand_layout'].index(results['hand_layout'].root)
        drop = (hand[..., root, 1] - center[:, None]) / size[:, None, None]  # (M, 2, T)
        # Without a body to compare with, the hand is kept.
        raised = hand_visible & ((drop <= self.reach) | ~visible[:, None])
        results['hand_visible'] = raised
        when = raised.any(axis=(0, 1)).nonzero()[0]
        if len(when):
            inside = np.zeros(body.shape[1], dtype=bool)
            inside[when[0] : when[-1] + 1] = True
            results['body_visible'] = visible & inside
        return results
