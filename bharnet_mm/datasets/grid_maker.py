"""Makes the region grids of a clip from the frames of its video."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from .regions import ClipRegions


class GridMaker:
    """Collects the grids of one clip while its video is read.

    Args:
        regions: Regions of the clip, in which somebody is visible.
        offsets: The choices of frames.

    Attributes:
        wanted: Position in the clip of each frame that ``add`` needs, to its columns.
    """

    def __init__(self, regions: ClipRegions, offsets: Iterable[int]) -> None:
        self.regions, self.offsets = regions, tuple(offsets)
        self.wanted: dict[int, list[int]] = {}
        self._cells: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
        for t in np.unique([regions.frames(s) for s in self.offsets]).tolist():
            self.wanted.setdefault(t, []).append(t)
            if regions.grid.motion and (after := regions.neighbour(t)) != t:
                self.wanted.setdefault(after, []).append(t)

    def add(self, position: int, image: np.ndarray) -> None:
        """Takes a wanted frame, RGB ``(H, W, 3)`` uint8."""
        for t in self.wanted[position]:
            self._cells[t, position] = self.regions.column(t, image)

    def grids(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Grid ``(C, H, W)`` and mask ``(R, F)`` of each offset, after all wanted frames were
        added.
        """
        columns = {}
        for t in self.wanted:
            if (t, t) in self._cells:
                image, mask = self._cells[t, t]
                if self.regions.grid.motion:
                    other = self._cells[t, self.regions.neighbour(t)][0]
                    image = np.dstack([image, motion_of(image, other)])
                columns[t] = image, mask
        return make_grids(self.regions, self.offsets, columns)


def motion_of(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Twice the difference of two images ``(H, W, 3)`` uint8 in the colour that differs most, at
    most 255.

    It is doubled because most differences are small and are stored as JPEG. It is 0 for equal
    images.
    """
    difference = np.abs(image.astype(np.int16) - other).max(axis=-1)
    return np.minimum(2 * difference, 255).astype(np.uint8)


def make_grids(
    regions: ClipRegions, offsets: Iterable[int], columns: Mapping[int, tuple]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grids of some offsets from the columns of the clip's frames."""
    grid = regions.grid
    return [grid.assemble(columns[int(t)] for t in regions.frames(s)) for s in offsets]
