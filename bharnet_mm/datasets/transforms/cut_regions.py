"""Cuts the region grid of a clip."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bharnet_mm.errors import SourceError

from ...layouts import REGION_PARTS
from ..grid_maker import GridMaker
from ..regions import ClipRegions, RegionGrid
from ..video import VideoFolder, available_readers, read_frames
from .base import BodyHandTransform, is_number

if TYPE_CHECKING:
    from ..store.regions import RegionStore


class CutRegions(BodyHandTransform):
    """Cuts regions around joints out of the clip's video and puts them into one grid.

    The grid has one row of cells per part and one column per frame (see ``RegionGrid``). Each cell
    is a square around the part's joints; two visible people get half a cell each, left and right as
    in the image. A region whose joint is unknown or outside the image is black and masked. The
    frames are those in which somebody is visible, so the transform must come before
    ``SampleWindow``. Before ``InterpolateMissing`` it takes exactly the frames that
    ``tools/data/extract_regions.py`` takes.

    The frames are read from the video in one sorted pass. With a region store the grids are read
    from there.
    With ``given`` the caller provides the grid of each clip, made by ``cut`` from images at hand.

    Required Keys:

        - clip_id, video, frame_index, image_size (the last three without ``store`` only)
        - body_pixel, body_visible, body_layout
        - rgb, rgb_mask (optional): the grid, where it is ``given``
        - mirrored (optional): the video is flipped as well

    Added Keys:

        - rgb: (3, R cell, F cell) uint8; 4 channels with ``motion``
        - rgb_mask: (R, F) bool; nowhere true: there is no image
        - rgb_grid: the ``RegionGrid``

    Args:
        data_root: Folder of the videos, in which ``VideoFolder`` looks.
        store: A region store made by ``tools/data/extract_regions.py``, instead.
        parts: R names of the layout's parts, ``person`` or ``scene``. Defaults to head, both wrists
            and both ankles. Of a store they may be some of its parts.
        num_frames: F. Defaults to 5.
        cell: Side of a cell in pixels. Defaults to 48.
        size: Side of a region in forearm lengths. Defaults to 1.5, 39 cm of an adult.
        max_persons: 1 or 2. Defaults to 2.
        num_offsets: Number of choices of frames. Defaults to 3.
        random: Whether one of them is drawn at random, for training. Otherwise the middle one is
            taken.
        given: Whether the grids come with the clips. Then a clip without ``rgb`` is absent.
        missing: What to do with an absent or broken video, one with too few frames, or a clip that
            the store lacks: 'error', or 'mask' to go on without an image. The first such clip of
            each process is logged, ``num_untreated`` counts them. Defaults to 'error'.
        motion: Whether there is a fourth channel, how much each cell differs from the next frame.
            Defaults to False.
        jitter: With ``random``, by what share of its side each cell is moved and enlarged, and of
            the full range made lighter or darker (``RegionGrid.jitter``). Defaults to 0.

    Raises:
        ConfigError: Not exactly one of ``data_root``, ``store`` and ``given`` is set, the store has
            other grids, or the layout lacks a part.
        ClipError: The clip has no ``body_pixel``.
        SourceError: See ``missing``.
    """

    def __init__(
        self,
        data_root: str | os.PathLike | None = None,
        store: str | os.PathLike | RegionStore | None = None,
        parts: Sequence[str] = REGION_PARTS,
        num_frames: int = 5,
        cell: int = 48,
        size: float = 1.5,
        max_persons: int = 2,
        num_offsets: int = 3,
        random: bool = False,
        given: bool = False,
        missing: str = 'error',
        motion: bool = False,
        jitter: float = 0.0,
    ) -> None:
        self.data_root, self.store = data_root, store
        self._check(
            (data_root is not None) + (store is not None) + given == 1,
            'data_root',
            'either data_root, the folder of the videos, or store, a region store, or given=True',
        )
        # Checked here, so that missing='mask' does not hide it.
        self._check(
            data_root is None or os.path.isdir(data_root), 'data_root', 'a folder that exists'
        )
        self.grid = RegionGrid(parts, num_frames, cell, size, max_persons, num_offsets, motion)
        self.parts, self.num_frames, self.cell = self.grid.parts, num_frames, cell
        self.size, self.max_persons, self.num_offsets = size, max_persons, num_offsets
        self.random, self.given = random, given
        self.missing, self.jitter = missing, jitter
        self._check(is_number(jitter, 0, 0.5), 'jitter', 'a share of a cell, 0 to 0.5')
        self._check(missing in ('error', 'mask'), 'missing', "'error' or 'mask'")
        self._videos = None if data_root is None else VideoFolder(data_root)
        self._store = None
        if store is not None:
            from ..store.regions import RegionStore  # needs OpenCV

            self._store = store if isinstance(store, RegionStore) else RegionStore(store)
            self._store.check_grid(self.grid, part_of=True)

    def transform(self, results: dict) -> dict:
        """Adds ``rgb`` and ``rgb_mask`` to ``results``.

        Raises:
            SourceError: The video or the clip's grid is missing, and ``missing`` is 'error'.
        """
        offset = np.random.randint(self.num_offsets) if self.random else self.grid.middle
        try:
            if self._store is not None:
                rgb, mask = self._from_store(results, offset)
            elif self._videos is not None:
                rgb, mask = self._from_video(results, offset)
            else:
                rgb, mask = self._given(results)
        except SourceError as error:
            if self.missing == 'error':
                raise
            self._count(results, f'no image ({error})')
            rgb, mask = self.grid.empty()
        if self.random and self.jitter and mask.any():
            rgb = self.grid.jitter(rgb, self.jitter)
        results['rgb'], results['rgb_mask'], results['rgb_grid'] = rgb, mask, self.grid
        return results

    def _from_store(self, results: dict, offset: int) -> tuple[np.ndarray, np.ndarray]:
        rgb, mask = self._store.read(results['clip_id'], offset, self.grid)
        return self.grid.mirror(rgb, mask) if results.get('mirrored') else (rgb, mask)

    def _given(self, results: dict) -> tuple[np.ndarray, np.ndarray]:
        if 'rgb' not in results:
            return self.grid.empty()
        rgb, mask = results['rgb'], results['rgb_mask']
        if (rgb.shape, mask.shape) != tuple(part.shape for part in self.grid.empty()):
            raise self._clip_error(
                results,
                f'a grid {rgb.shape} with a mask {mask.shape}',
                f'{self.grid.empty()[0].shape} of {self.grid}',
                'cut it by these arguments',
            )
        return rgb, mask

    def _from_video(self, results: dict, offset: int) -> tuple[np.ndarray, np.ndarray]:
        def read(numbers: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
            return read_frames(self._path(results), numbers, available_readers())

        return self.cut(results, read, offset)

    def cut(
        self,
        results: dict,
        read: Callable[[Iterable[int]], Iterable[tuple[int, np.ndarray]]],
        offset: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The grid of a clip from the pictures of its frames, whatever they come from.

        Args:
            results: The required keys.
            read: Gives numbers and pictures, RGB ``(H, W, 3)`` uint8, of the frames whose numbers
                it gets; the numbers are those of ``frame_index``.
            offset: Which choice of frames. Defaults to the middle one, as in a test.

        Returns:
            ``rgb`` and ``rgb_mask``.
        """
        offset = self.grid.middle if offset is None else offset
        pixel, size = results['body_pixel'], results['image_size']
        if pixel is None:
            raise self._clip_error(
                results,
                'no pixel positions of its joints',
                'body_pixel, which says where the regions are',
                'convert the data with pixels, or give a region store',
            )
        regions = ClipRegions(
            self.grid, pixel, results['body_visible'], results['body_layout'], size
        )
        if regions.empty:
            return self.grid.empty()
        maker = GridMaker(regions, [offset])
        positions: dict[int, list[int]] = {}
        for t in maker.wanted:  # several frames of a resampled clip may be the same of the video
            positions.setdefault(int(results['frame_index'][t]), []).append(t)
        for number, image in read(positions):
            if results.get('mirrored'):
                image = image[:, ::-1]
            for t in positions[number]:
                maker.add(t, image)
        return maker.grids()[0]

    def _path(self, results: dict) -> str:
        found = self._videos.find(results['video'], results['clip_id'])
        if len(found) != 1:
            raise SourceError(
                f'clip {results["clip_id"]!r}',
                f'{"several videos" if found else "no video"} named {results["video"]!r} below '
                f'{self.data_root}',
                'one',
                "correct data_root, add the video, or set missing='mask'",
            )
        return os.path.join(self.data_root, found[0])
