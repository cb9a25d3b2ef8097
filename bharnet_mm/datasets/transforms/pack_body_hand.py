"""Packs a clip at the end of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import BodyHandTransform


class PackBodyHand(BodyHandTransform):
    """Packs tensors and a data sample into a new dict.

    - inputs: dict of tensors; body (M, T, V, C), body_mask (M, T), hand (2M, T, 21, C), hand_mask
      (2M, T); and rgb (3, H, W) uint8, rgb_mask (R, F) if ``CutRegions`` made them
    - data_samples: ``ActionDataSample`` with ``gt_label`` and, in its metainfo, those of
      ``meta_keys`` that the clip has

    Required Keys:

        - body, body_mask, hand, hand_mask: from ``FormatBodyHand``
        - rgb, rgb_mask: from ``CutRegions`` (optional)
        - label, and those in ``meta_keys`` (optional)

    Added Keys:

        - inputs, data_samples

    Args:
        meta_keys: Defaults to ('clip_id', 'total_frames', 'video').
    """

    INPUTS = ('body', 'body_mask', 'hand', 'hand_mask')
    OPTIONAL = ('rgb', 'rgb_mask')

    def __init__(self, meta_keys: Sequence[str] = ('clip_id', 'total_frames', 'video')) -> None:
        self.meta_keys = meta_keys
        self._check(
            isinstance(meta_keys, (tuple, list)) and all(isinstance(k, str) for k in meta_keys),
            'meta_keys',
            'a tuple of names',
        )

    def transform(self, results: dict) -> dict:
        """Packs ``results`` into ``inputs`` (tensors) and ``data_samples``."""
        # Imported here, since the other transforms also run without torch.
        import torch
        from mmaction.structures import ActionDataSample

        keys = self.INPUTS + tuple(key for key in self.OPTIONAL if key in results)
        inputs = {k: torch.from_numpy(np.ascontiguousarray(results[k])) for k in keys}
        metainfo = {key: results[key] for key in self.meta_keys if key in results}
        sample = ActionDataSample(metainfo=metainfo)
        if 'label' in results:
            sample.set_gt_label(int(results['label']))
        return dict(inputs=inputs, data_samples=sample)
