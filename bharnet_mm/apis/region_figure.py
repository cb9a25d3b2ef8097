"""Draws the region grid of a clip with the frames from which it was cut."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..datasets.clip import Clip
from ..datasets.grid_maker import make_grids
from ..datasets.regions import ClipRegions, RegionGrid
from ..datasets.video import VideoFolder, read_frames
from ..errors import ClipError, SourceError
from ..layouts import SkeletonLayout
from .visualizer import draw_skeleton, figure_text, new_figure, save_figure

_COLORS = ('#ffd400', '#00a2ff', '#ff5a36', '#7ed0ff', '#ffa48f')


def save_regions(
    path: str | os.PathLike,
    clip: Clip,
    layout: SkeletonLayout,
    videos: str | os.PathLike,
    grid: RegionGrid | None = None,
    title: str = '',
) -> None:
    """Writes a figure. Above are the frames of the middle offset with skeleton and regions, below
    is the grid.

    Args:
        path: File to write; its ending gives the format.
        clip: A clip with `body_pixel`.
        layout: Layout of the body.
        videos: Folder in which the clip's video is found.
        grid: The grid to cut. Default: `RegionGrid()` with those parts that the layout has.
        title: Title of the figure; by default the clip's id.

    Raises:
        ClipError: The clip has no pixels, or nobody is visible in any frame.
        SourceError: The video is absent or broken.
    """
    grid = grid or RegionGrid(tuple(part for part in RegionGrid().parts if part in layout.parts))
    visible = clip.body_score > 0
    if clip.body_pixel is None or not visible.any():
        raise ClipError(
            f'clip {clip.clip_id!r}',
            'nobody in any frame' if clip.body_pixel is not None else 'no body_pixel',
            'pixel positions of somebody',
            'choose another clip',
        )
    found = VideoFolder(videos).find(clip.video, clip.clip_id)
    if len(found) != 1:
        raise SourceError(
            f'clip {clip.clip_id!r}',
            f'{len(found)} videos named {clip.video!r}',
            'one',
            'see --videos',
        )
    regions = ClipRegions(grid, clip.body_pixel, visible, layout, clip.image_size)
    moments = regions.frames(grid.middle)
    numbers = {int(clip.frame_index[t]): int(t) for t in moments}
    images = {numbers[n]: image for n, image in read_frames(Path(videos) / found[0], numbers)}
    columns = {t: regions.column(t, image) for t, image in images.items()}
    [(rgb, mask)] = make_grids(regions, [grid.middle], columns)

    height, width = next(iter(images.values())).shape[:2]
    parts = len(grid.parts)
    figure = new_figure(1.6 * grid.num_frames + 0.8, 1.6 * (height / width + parts) + 0.5)
    axes = figure.add_gridspec(
        2, grid.num_frames, height_ratios=[height / width, parts], hspace=0.03, wspace=0.03,
        left=0.09, right=0.995, bottom=0.01, top=0.94,
    )  # fmt: skip
    figure.suptitle(figure_text(title or clip.clip_id), fontsize=10)
    for column, t in enumerate(moments.tolist()):
        ax = figure.add_subplot(axes[0, column])
        _frame(ax, images[t], clip, t, layout, regions)
    _grid(figure.add_subplot(axes[1, :]), grid, rgb, mask)
    save_figure(figure, path, dpi=90)


def _frame(ax, image: np.ndarray, clip: Clip, t: int, layout: SkeletonLayout, regions) -> None:
    from matplotlib.patches import Rectangle

    height, width = image.shape[:2]
    ax.imshow(image, extent=(0, width, height, 0))
    scale = np.array([width, height]) / clip.image_size if all(clip.image_size) else 1.0
    for person in np.flatnonzero(clip.body_score[:, t] > 0):
        draw_skeleton(ax, (clip.body_pixel[person, t] + 0.5) * scale, layout, alpha=0.6, width=0.8)
    for box in regions.boxes(t, (width, height)):
        corner = np.array(box.center) - np.array(box.size) / 2
        color = _COLORS[box.row % len(_COLORS)]
        ax.add_patch(Rectangle(corner, *box.size, fill=False, ec=color, lw=1.6))
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])


def _grid(ax, grid: RegionGrid, rgb: np.ndarray, mask: np.ndarray) -> None:
    ax.imshow(rgb.transpose(1, 2, 0), interpolation='nearest')
    for row, part in enumerate(grid.parts):
        middle, color = (row + 0.5) * grid.cell, _COLORS[row % len(_COLORS)]
        ax.text(
            -6, middle, figure_text(part).replace('_', '\n'), ha='right', va='center', fontsize=9
        )
        ax.plot([-3, -3], [row * grid.cell + 3, (row + 1) * grid.cell - 3], color=color, lw=4,
                clip_on=False)  # fmt: skip
        for column in np.flatnonzero(~mask[row]):
            ax.text((column + 0.5) * grid.cell, middle, 'missing', color='0.6', ha='center',
                    va='center', fontsize=8)  # fmt: skip
    for edge in range(1, grid.num_frames):
        ax.axvline(edge * grid.cell - 0.5, color='white', lw=1)
    for edge in range(1, len(grid.parts)):
        ax.axhline(edge * grid.cell - 0.5, color='white', lw=1)
    ax.set(xlim=(-0.5, rgb.shape[2] - 0.5), ylim=(rgb.shape[1] - 0.5, -0.5), xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
