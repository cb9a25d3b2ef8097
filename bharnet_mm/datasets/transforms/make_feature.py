"""The four skeleton features."""

from __future__ import annotations

import numpy as np
from mmaction.registry import TRANSFORMS

from .base import PARTS, BodyHandTransform, get_part, set_part


@TRANSFORMS.register_module()
class MakeFeature(BodyHandTransform):
    """Turns joint positions of body and hands into one of four features.

    - 'joint': the positions x.
    - 'bone': ``x[v] - x[parent(v)]`` by the layout's bone tree; 0 for the root.
    - 'joint_motion': ``x[t + 1] - x[t]``; 0 in the last frame.
    - 'bone_motion': the motion of the bones.

    A motion is visible where both of its frames are, in the last frame as in the one before. The
    only frame of a clip has motion 0 and stays as visible as it was.

    Required Keys:

        - body, body_visible, body_layout, hand, hand_visible, hand_layout

    Modified Keys:

        - body, hand
        - body_visible, hand_visible: for motions

    Added Keys:

        - feature

    Args:
        feature: 'joint', 'bone', 'joint_motion' or 'bone_motion'. Defaults to 'joint'.

    Raises:
        ClipError: The clip holds another feature than positions already.
    """

    FEATURES = ('joint', 'bone', 'joint_motion', 'bone_motion')

    def __init__(self, feature: str = 'joint') -> None:
        self.feature = feature
        self._check(feature in self.FEATURES, 'feature', f'one of {self.FEATURES}')

    def transform(self, results: dict) -> dict:
        if results.get('feature', 'joint') != 'joint':
            raise self._clip_error(
                results,
                f'the feature {results["feature"]!r}',
                'joint positions',
                'use MakeFeature once in a pipeline',
            )
        results['feature'] = self.feature
        for part in PARTS:
            x, visible, layout = get_part(results, part)
            if not visible.any():
                continue
            if self.feature.startswith('bone'):
                x = x - x.take(layout.parent_index, axis=2)
            if self.feature.endswith('motion'):
                motion = np.zeros(x.shape, dtype=x.dtype)
                np.subtract(x[:, 1:], x[:, :-1], out=motion[:, :-1])
                x = motion
                if visible.shape[1] > 1:
                    both = visible.copy()
                    both[:, :-1] &= visible[:, 1:]
                    both[:, -1] = both[:, -2]
                    visible = both
            set_part(results, part, x, visible)
        return results
