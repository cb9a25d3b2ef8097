"""Formats region grids for MMAction2's 2-D models."""

from __future__ import annotations

from .base import BodyHandTransform


class FormatGrid(BodyHandTransform):
    """Makes the region grid the only image of a clip, for MMAction2's ``Recognizer2D``.
    ``PackActionInputs`` follows in the pipeline.

    Such models have no masks, so missing regions are black.

    Required Keys:

        - rgb: from ``CutRegions``

    Added Keys:

        - imgs: (1, 3, H, W) uint8
    """

    def transform(self, results: dict) -> dict:
        """Gives ``results`` the keys of a stock 2-D model: ``imgs`` with one image."""
        results['imgs'] = results['rgb'][None, :3]
        return results
