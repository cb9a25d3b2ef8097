"""Figures of clips: a strip of frames with bodies above and enlarged hands below."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.clip import Clip
from ..errors import ConfigError
from ..io.atomic import atomic_write
from ..io.names import shown
from ..layouts import SkeletonLayout, get_layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Layout = str | dict | SkeletonLayout

_SIDES = ('left', 'right')


def y_points_down(points: np.ndarray, layout: SkeletonLayout) -> bool:
    """Whether y grows downwards, as in images, found by comparing the head with the layout's
    centre.

    Args:
        points (np.ndarray): (..., V, C) finite coordinates.
        layout (SkeletonLayout): Its joints. Without a part `head` the answer is False.
    """
    if 'head' not in layout.parts or not points.size:
        return False
    head = points[..., layout.part_index('head'), 1].mean()
    return bool(head < points[..., layout.center_index, 1].mean())


def draw_skeleton(
    ax: Axes,
    points: np.ndarray,
    layout: Layout,
    side: str | None = None,
    alpha: float = 1.0,
    width: float = 1.6,
) -> None:
    """Draws one skeleton's edges and joints as seen along z.

    Args:
        ax (Axes): Where to draw.
        points (np.ndarray): (V, C), x and y first. Joints that are not finite are left out.
        layout (str | dict | SkeletonLayout): Its joints, edges and colours.
        side (str | None): Draws all joints in the colour of this side (a hand). By default each
            joint has the colour of its own side.
        alpha (float): Opacity.
        width (float): Width of the lines in points.
    """
    layout = get_layout(layout)
    x, y = np.asarray(points, dtype=np.float64)[:, :2].T
    colors = {key: np.array(value) / 255 for key, value in layout.colors.items()}
    sides = [side or layout.side(joint) for joint in layout.joints]
    for start, end in layout.edge_index:
        # An edge has the colour of the joint that it leads to.
        edge_side = sides[start] if sides[end] == 'middle' else sides[end]
        ax.plot(
            x[[start, end]],
            y[[start, end]],
            color=colors[edge_side],
            lw=width,
            alpha=alpha,
            solid_capstyle='round',
        )
    ax.scatter(x, y, s=(1.5 * width) ** 2, color=[colors[s] for s in sides], alpha=alpha, zorder=3)


def draw_clip(
    clip: Clip,
    body_layout: Layout,
    hand_layout: Layout | None = 'hand',
    num_frames: int = 6,
    title: str = '',
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """A strip of evenly spaced frames of a clip.

    Bodies are drawn as the camera shows them, in one common scale; later persons are paler.
    Below are the left and the right hand of each person, each centred, in one common scale. A
    missing hand is an empty box with a note. The body's y may point up (metres) or down
    (images). The y of hands points down, as in the output of estimators.

    Args:
        clip (Clip): What to draw.
        body_layout (str | dict | SkeletonLayout): Layout of `clip.body`.
        hand_layout (str | dict | SkeletonLayout | None): Layout of `clip.hand`; None draws
            bodies only.
        num_frames (int): Columns of the strip.
        title (str): Title; by default the clip's id.
        figure (Figure | SubFigure | None): Where to draw; default: a new one.

    Returns:
        Figure | SubFigure: The figure.
    """
    if num_frames < 1:
        raise ConfigError('draw_clip', f'num_frames={num_frames}', 'at least 1', 'ask for a frame')
    body_layout = get_layout(body_layout)
    hand_layout = None if hand_layout is None else get_layout(hand_layout)
    clip = clip.squared()
    persons, total = clip.body.shape[:2]
    hand_rows = 0 if hand_layout is None else persons
    figure = figure or new_figure(1.9 * num_frames, 3.1 + 1.05 * hand_rows)
    figure.suptitle(figure_text(title or clip.clip_id), fontsize=10)
    columns = np.unique(np.linspace(0, total - 1, num_frames + 2)[1:-1].round().astype(int))
    grid = figure.add_gridspec(
        1 + hand_rows, 2 * len(columns), height_ratios=[2.4] + [1] * hand_rows
    )

    body = np.where((clip.body_score > 0)[..., None, None], clip.body, np.nan)
    window = _body_window(body, body_layout)
    for column, t in enumerate(columns):
        ax = figure.add_subplot(grid[0, 2 * column : 2 * column + 2])
        ax.set_title(f'frame {clip.frame_index[t]}', fontsize=8, pad=2)
        _frame(ax, window)
        for person in range(persons):
            draw_skeleton(ax, body[person, t], body_layout, alpha=1.0 if person == 0 else 0.5)
        if not (clip.body_score[:, t] > 0).any():
            _say_missing(ax)

    hand = (
        None
        if hand_layout is None
        else np.where((clip.hand_score > 0)[..., None, None], clip.hand, np.nan)
    )
    half = 0.5 if hand is None else _hand_half_width(hand)
    for person in range(hand_rows):
        for column, t in enumerate(columns):
            for side, name in enumerate(_SIDES):
                ax = figure.add_subplot(grid[1 + person, 2 * column + side])
                points = hand[person, side, t]
                visible = clip.hand_score[person, side, t] > 0
                x, y = _middle(points) if visible else (0.0, 0.0)
                _frame(ax, (x - half, x + half, y + half, y - half))
                if visible:
                    draw_skeleton(
                        ax,
                        points,
                        hand_layout,
                        side=name,
                        alpha=1.0 if person == 0 else 0.5,
                        width=1.3,
                    )
                else:
                    _say_missing(ax)
                if person == 0:
                    ax.set_title(name, fontsize=6, pad=1)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.87, wspace=0.06, hspace=0.12)
    return figure


def save_clip(
    path: str | Path, clip: Clip, body_layout: Layout, hand_layout: Layout | None = 'hand', **kwargs
) -> None:
    """Draws a clip to a PNG file, see `draw_clip`."""
    save_figure(draw_clip(clip, body_layout, hand_layout, **kwargs), path, dpi=110)


def save_figure(figure: Figure, path: str | os.PathLike, dpi: int) -> None:
    """Writes a figure, in the format of the path's ending; it appears whole or not at all."""
    with atomic_write(path, 'wb') as stream:
        figure.savefig(stream, format=Path(path).suffix.lstrip('.') or 'png', dpi=dpi)


def figure_text(text: object) -> str:
    """A text from outside for a figure, where a pair of dollars would begin a formula."""
    return shown(text).replace('$', r'\$')


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, which needs no display."""
    # pyplot is not used, since it would keep the figure in memory and might need a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor='white')
    FigureCanvasAgg(figure)
    return figure


def _body_window(body: np.ndarray, layout: SkeletonLayout) -> tuple[float, float, float, float]:
    """Left, right, bottom and top that show all frames."""
    points = body.reshape(-1, *body.shape[-2:])
    points = points[np.isfinite(points).all(axis=(1, 2))]
    if not len(points):
        return 0.0, 1.0, 0.0, 1.0
    low, high = points[..., :2].min(axis=(0, 1)), points[..., :2].max(axis=(0, 1))
    margin = 0.05 * max(high - low)
    (left, bottom), (right, top) = low - margin, high + margin
    return (
        (left, right, top, bottom) if y_points_down(points, layout) else (left, right, bottom, top)
    )


def _hand_half_width(hand: np.ndarray) -> float:
    points = hand[np.isfinite(hand).all(axis=(-1, -2))][..., :2]
    if not len(points):
        return 0.5
    # A quantile is used, so that one faulty frame does not shrink all others.
    return float(np.quantile(np.ptp(points, axis=1).max(axis=-1), 0.98)) * 0.58 or 0.5


def _middle(points: np.ndarray) -> np.ndarray:
    return (np.nanmin(points[:, :2], axis=0) + np.nanmax(points[:, :2], axis=0)) / 2


def _frame(ax: Axes, window: tuple[float, float, float, float]) -> None:
    ax.set_xlim(window[0], window[1])
    ax.set_ylim(window[2], window[3])
    ax.set_aspect('equal', adjustable='box')
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color('0.8')


def _say_missing(ax: Axes) -> None:
    ax.text(
        0.5,
        0.5,
        'missing',
        ha='center',
        va='center',
        fontsize=7,
        color='0.5',
        transform=ax.transAxes,
    )
