"""Formats clips for MMAction2's skeleton models."""

from __future__ import annotations

import numpy as np

from bharnet_mm.layouts import SkeletonLayout, unified_layout

from .base import BodyHandTransform, is_count
from .format_body_hand import pad_part, with_visibility


class FormatKeypoint(BodyHandTransform):
    """Formats bodies or hands for MMAction2's models, as its ``FormatGCNInput`` does.
    ``PackActionInputs`` follows in the pipeline.

    'unified' puts each person's body, left and right hand into one graph, the layout
    ``unified_layout(body_layout, hand_layout)``. Missing entries are 0, since such models have no
    masks; ``visibility`` gives them the masks as a channel.

    Required Keys:

        - body, body_visible, body_layout, hand, hand_visible, hand_layout
        - body_joint_visible, hand_joint_visible (optional)

    Added Keys:

        - keypoint: (1, M, T, V, C) float32, M = ``num_persons`` bodies, or 2 ``num_persons`` hands
          (person 0 left, person 0 right, person 1 left, ...)
        - keypoint_layout: its ``SkeletonLayout``

    Args:
        part: 'body', 'hand' or 'unified'. Defaults to 'body'.
        num_persons: Number of persons. Defaults to 2.
        visibility: Whether to append a channel that is 1 where a joint is there itself and 0 where
            it is missing, masked or only filled. The network then needs ``in_channels`` one more.
            Defaults to False.

    Raises:
        ClipError: The clip has more persons, or body and hand differ in their channels (unified).
    """

    def __init__(self, part: str = 'body', num_persons: int = 2, visibility: bool = False) -> None:
        self.part = part
        self.num_persons = num_persons
        self.visibility = visibility
        self._check(isinstance(visibility, bool), 'visibility', 'True or False')
        self._check(part in ('body', 'hand', 'unified'), 'part', "'body', 'hand' or 'unified'")
        self._check(is_count(num_persons), 'num_persons', 'a whole number of at least 1')
        self._unified: tuple[SkeletonLayout, SkeletonLayout, SkeletonLayout] | None = None

    def transform(self, results: dict) -> dict:
        """Adds ``keypoint`` to ``results``."""
        if self.part == 'unified':
            keypoint, layout = self._join(results)
        else:
            keypoint = self._padded(results, self.part)
            layout = results[f'{self.part}_layout']
        results['keypoint'] = keypoint[None]
        results['keypoint_layout'] = layout
        return results

    def _padded(self, results: dict, part: str) -> np.ndarray:
        x, mask = pad_part(self, results, part, self.num_persons)
        return with_visibility(results, part, x, mask) if self.visibility else x

    def _join(self, results: dict) -> tuple[np.ndarray, SkeletonLayout]:
        body, hand = results['body'], results['hand']
        if body.shape[-1] != hand.shape[-1]:
            raise self._clip_error(
                results,
                f'{body.shape[-1]} channels in the body and {hand.shape[-1]} in the hands',
                'as many in both, to join them in one graph',
                'even them out with SelectChannels',
            )
        layouts = results['body_layout'], results['hand_layout']
        if (
            self._unified is None
            or self._unified[0] is not layouts[0]
            or self._unified[1] is not layouts[1]
        ):
            self._unified = *layouts, unified_layout(*layouts)
        body, hand = self._padded(results, 'body'), self._padded(results, 'hand')
        return np.concatenate([body, hand[::2], hand[1::2]], axis=2), self._unified[2]
