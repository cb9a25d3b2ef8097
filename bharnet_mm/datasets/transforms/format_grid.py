"""The array that MMAction2's own 2-D image models take."""

from __future__ import annotations

from .base import BodyHandTransform


class FormatGrid(BodyHandTransform):
    """Gives a region grid to a stock ``Recognizer2D`` as the one image of its clip;
    ``PackActionInputs`` follows.

    Such models have no masks: what is missing is black.

    Required Keys:

        - rgb: from ``CutRegions``

    Added Keys:

        - imgs: (1, 3, H, W) uint8
    """

    def transform(self, results: dict) -> dict:
        """Gives ``results`` the keys of a stock 2-D model: ``imgs`` with one image."""
        results['imgs'] = results['rgb'][None]
        return results
