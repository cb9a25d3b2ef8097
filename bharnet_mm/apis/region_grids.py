"""Region grids for a trained model with an rgb expert, from images or from a region store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.clip import Clip, pipeline_input
from ..layouts import SkeletonLayout, get_layout
from .model_card import ModelCard
from .recognizer import fit_clip

#: ``rgb`` uint8 and ``rgb_mask`` bool, as ``CutRegions`` makes them.
Grid = tuple[np.ndarray, np.ndarray]


class GridCutter:
    """Cuts the grids that a model was trained with: the same parts, cells and moments.

    Args:
        card: Of a model whose pipeline has ``CutRegions``.
    """

    def __init__(self, card: ModelCard) -> None:
        from ..datasets.transforms import CutRegions

        self.card = card
        self.transform = CutRegions(**given(card.regions))

    def cut(
        self,
        clip: Clip,
        layout: SkeletonLayout,
        channels: Mapping[str, Sequence[str]],
        images: Mapping[int, np.ndarray],
    ) -> Grid:
        """The grid of a clip.

        Args:
            clip: With ``body_pixel``, as an estimator found it.
            layout, channels: Of the clip.
            images: Number of a frame, as in the clip's ``frame_index``, to its image, RGB
                ``(H, W, 3)`` uint8; at least one. A camera drops frames: the nearest image takes
                the place of one that is not there.
        """
        clip = fit_clip(clip, layout, channels, self.card)
        results = pipeline_input(
            clip.with_nonfinite_masked()[0], self.card.layout, get_layout('hand')
        )

        def read(wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
            for n in wanted:
                yield n, images[min(images, key=lambda m: abs(m - n))]

        return self.transform.cut(results, read)


def cutter_of(card: ModelCard) -> GridCutter | None:
    """What cuts the grids of a model; None for a model without an rgb expert."""
    return None if card.regions is None else GridCutter(card)


def given(step: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a ``CutRegions`` step of a card, for grids that come with the clips."""
    own = ('type', 'data_root', 'store', 'random', 'missing', 'given')
    return {key: value for key, value in step.items() if key not in own} | {'given': True}


class StoredGrids:
    """Grids of a clip store's clips from the region store beside it, ``STORE_regions``.

    Args:
        store: Path of the clip store.
        card: Of a model with an rgb expert.

    Raises:
        BHaRNetError: The region store is damaged, or its grids are not those of the model.

    Attributes:
        absent (str): Why there are no grids, empty where there is a region store.
    """

    def __init__(self, store: Path, card: ModelCard) -> None:
        from ..datasets.store.regions import META_FILE, RegionStore
        from ..datasets.transforms import CutRegions

        path = store.with_name(f'{store.name}_regions')
        there = (path / META_FILE).is_file()
        self.absent = '' if there else f'there is no region store {path}'
        self._store = RegionStore(path) if there else None
        if there:
            grid = CutRegions(**given(card.regions)).grid
            self._store.check_grid(grid)
            self._offset = grid.middle
            self._held = set(self._store.clip_ids)

    def read(self, clip: Clip) -> Grid | None:
        """The grid that a test takes; None where the store has none of this clip."""
        if self._store is None or clip.clip_id not in self._held:
            return None
        return self._store.read(clip.clip_id, self._offset)
