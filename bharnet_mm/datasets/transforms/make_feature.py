"""The four skeleton features."""

from __future__ import annotations

from bharnet_mm.features import FEATURES, make_feature

from .base import SKELETONS, BodyHandTransform, get_part, set_part


class MakeFeature(BodyHandTransform):
    """Turns joint positions of body and hands into one of the four features of ``make_feature``.

    With the bone tree's parent p(v): bone ``x[v] - x[p(v)]``, 0 for the root; motion ``x[t + 1] -
    x[t]``, 0 in the last frame. A motion is visible if both of its frames are; the last frame is as
    visible as the one before.

    Required Keys:

        - body, body_visible, body_layout, hand, hand_visible, hand_layout
        - feature (optional)

    Modified Keys:

        - body, hand
        - body_visible, hand_visible: for motions

    Added Keys:

        - feature

    Args:
        feature: 'joint', 'bone', 'joint_motion' or 'bone_motion'. Defaults to 'joint'.

    Raises:
        ClipError: The clip has another feature than joint positions already.
    """

    def __init__(self, feature: str = 'joint') -> None:
        self.feature = feature
        self._check(feature in FEATURES, 'feature', f'one of {FEATURES}')

    def transform(self, results: dict) -> dict:
        """Replaces the coordinates of ``results`` by the feature."""
        if results.get('feature', 'joint') != 'joint':
            raise self._clip_error(
                results,
                f'the feature {results["feature"]!r}',
                'joint positions',
                'use MakeFeature once in a pipeline',
            )
        results['feature'] = self.feature
        for part in SKELETONS:
            x, visible, layout = get_part(results, part)
            if visible.any():
                feature = make_feature(x, visible, layout.parent_index, self.feature)
                set_part(results, part, *feature)
        return results
