"""Selects joints of bodies by name."""

from __future__ import annotations

import numpy as np

from bharnet_mm.layouts import SkeletonLayout, get_layout

from .base import BodyHandTransform


class SelectJoints(BodyHandTransform):
    """Reduces the body to the joints of a sub-layout, matched by joint name.

    Required Keys:

        - body, body_layout
        - body_pixel, body_joint_visible (optional)

    Modified Keys:

        - body: (M, T, V, C) to (M, T, V', C)
        - body_pixel, body_joint_visible: likewise
        - body_layout: the sub-layout

    Args:
        layout: The sub-layout: a registered name, a definition as a dict, or a ``SkeletonLayout``.

    Raises:
        LayoutError: The layout is unknown (at construction), or the clip's layout lacks one of its
            joints.
    """

    def __init__(self, layout: str | dict | SkeletonLayout) -> None:
        self.layout = layout
        self._layout = get_layout(layout)
        self._index: tuple[SkeletonLayout, np.ndarray] | None = None

    def transform(self, results: dict) -> dict:
        """Keeps the chosen joints of ``results`` and replaces the layout."""
        source = results['body_layout']
        if self._index is None or self._index[0] is not source:
            self._index = source, source.select(self._layout)
        index = self._index[1]
        results['body'] = results['body'].take(index, axis=2)
        if results.get('body_pixel') is not None:
            results['body_pixel'] = results['body_pixel'].take(index, axis=2)
        if results.get('body_joint_visible') is not None:
            results['body_joint_visible'] = results['body_joint_visible'].take(index, axis=2)
        results['body_layout'] = self._layout
        return results
