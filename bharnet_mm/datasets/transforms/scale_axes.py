"""Every axis of a clip brought to the same range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import BodyHandTransform, are_parts, get_part, set_part


class ScaleAxes(BodyHandTransform):
    """Maps each axis of the coordinates to [-1, 1] over the clip.

    ``x[..., c] -> 2 (x[..., c] - low[c]) / (high[c] - low[c]) - 1`` with the least and the largest
    value of the axis over all visible frames and joints. All bodies of a clip have the same range,
    which keeps the distances between persons; each hand has its own. An axis along which nothing
    differs becomes 0. Sizes, proportions and places are gone afterwards, and with them what a
    camera adds to them; so this comes after every rotation. Public recipes for N-UCLA have it.

    Required Keys:

        - the parts with their visibility and layout, e.g. body, body_visible, body_layout

    Modified Keys:

        - the parts

    Args:
        parts: One or both of 'body' and 'hand'. Defaults to the body.
    """

    def __init__(self, parts: Sequence[str] = ('body',)) -> None:
        self.parts = parts
        self._check(are_parts(parts), 'parts', "one or both of 'body' and 'hand'")

    def transform(self, results: dict) -> dict:
        """Scales the axes of ``results``."""
        for part in self.parts:
            x, visible, _ = get_part(results, part)
            if not visible.any():
                continue
            shown = visible[:, :, None, None]
            over = (0, 1, 2) if part == 'body' else (1, 2)
            low = np.where(shown, x, np.float32(np.inf)).min(axis=over, keepdims=True)
            high = np.where(shown, x, np.float32(-np.inf)).max(axis=over, keepdims=True)
            extent = high - low
            flat = ~(extent > 0)  # also of a hand that is never visible
            scaled = 2 * (x - low) / np.where(flat, np.float32(1), extent) - 1
            set_part(results, part, np.where(flat, np.float32(0), scaled).astype(np.float32))
        return results
