"""Skeletons, hands and text on the frames of a video, for predict, live and web."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..io.names import shown
from ..layouts import SkeletonLayout, get_layout

if TYPE_CHECKING:
    from ..datasets.clip import Clip
    from ..datasets.extraction.estimators import BodyPose, HandPose

Layout = str | dict | SkeletonLayout
SIDES = ('left', 'right')


@dataclass(frozen=True)
class Skeleton:
    """One body or hand in an image.

    Attributes:
        points (np.ndarray): ``(V, 2)`` pixels; joints that are not finite are not drawn.
        layout (SkeletonLayout): Its joints, edges and colors.
        side (str | None): ``'left'`` or ``'right'`` for a hand, which has one color.
    """

    points: np.ndarray
    layout: SkeletonLayout
    side: str | None = None


def skeletons_of_poses(
    bodies: Mapping[int, BodyPose], hands: Mapping[tuple[int, int], HandPose], body_layout: Layout
) -> list[Skeleton]:
    """The skeletons that a ``BodyHandTracker`` found in one frame, without joints of low
    confidence.

    Args:
        bodies: Person number → body.
        hands: (person number, side) → hand; side 0 is left, 1 is right.
        body_layout: Layout of the bodies.
    """
    layout, hand_layout = get_layout(body_layout), get_layout('hand')
    found = []
    for body in bodies.values():
        points = np.array(body.points[:, :2], dtype=np.float64)
        points[np.asarray(body.joint_score) < 0.3] = np.nan
        found.append(Skeleton(points, layout))
    for (_, side), hand in hands.items():
        found.append(Skeleton(np.asarray(hand.points)[:, :2], hand_layout, SIDES[side]))
    return found


def skeletons_of_clip(
    clip: Clip, frame: int, body_layout: Layout, size: tuple[int, int], hand_layout: Layout = 'hand'
) -> list[Skeleton]:
    """The visible bodies and hands of one frame of a clip whose coordinates are image fractions.

    Args:
        clip: The clip.
        frame: Number of the frame in the clip.
        body_layout: Layout of ``clip.body``.
        size: Width and height of the image in pixels.
        hand_layout: Layout of ``clip.hand``.
    """
    layout, hand_layout = get_layout(body_layout), get_layout(hand_layout)
    scale, found = np.array(size, dtype=np.float64), []
    for person in range(clip.num_persons):
        if clip.body_score[person, frame] > 0:
            found.append(Skeleton(clip.body[person, frame, :, :2] * scale, layout))
        for side, name in enumerate(SIDES):
            if clip.hand_score[person, side, frame] > 0:
                points = clip.hand[person, side, frame, :, :2] * scale
                found.append(Skeleton(points, hand_layout, name))
    return found


def draw_frame(
    image: np.ndarray, skeletons: Iterable[Skeleton], lines: Sequence[str] = ()
) -> np.ndarray:
    """A copy of an image with skeletons and text on it.

    Args:
        image: RGB ``(H, W, 3)`` uint8.
        skeletons: What to draw.
        lines: Lines of text for the upper left corner; the first one is larger.

    Returns:
        RGB ``(H, W, 3)`` uint8.
    """
    picture = np.array(image, dtype=np.uint8, order='C')
    width = max(1, round(min(picture.shape[:2]) / 240))
    for skeleton in skeletons:
        _draw_skeleton(picture, skeleton, width)
    if lines:
        picture = _draw_text(picture, lines)
    return picture


def _draw_skeleton(picture: np.ndarray, skeleton: Skeleton, width: int) -> None:
    layout = skeleton.layout
    thin = skeleton.side is not None
    thickness = max(1, width - 1) if thin else width
    sides = [skeleton.side or layout.side(joint) for joint in layout.joints]
    points = np.asarray(skeleton.points, dtype=np.float64)
    # Beyond this range OpenCV's fixed-point coordinates would overflow.
    known = np.isfinite(points).all(axis=1) & (np.abs(points) < 1e5).all(axis=1)
    pixels = np.rint(np.where(known[:, None], points, 0)).astype(int)
    for start, end in layout.edge_index:
        if known[start] and known[end]:
            side = sides[start] if sides[end] == 'middle' else sides[end]
            color = tuple(int(c) for c in layout.colors[side])
            a, b = (tuple(int(v) for v in pixels[i]) for i in (start, end))
            cv2.line(picture, a, b, color, thickness, cv2.LINE_AA)
    for joint in np.flatnonzero(known):
        center = tuple(int(v) for v in pixels[joint])
        cv2.circle(picture, center, thickness, (255, 255, 255), -1, cv2.LINE_AA)


def _draw_text(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Draws text with Pillow, since OpenCV's own fonts have ASCII letters only."""
    from PIL import Image, ImageDraw

    large = max(14, picture.shape[0] // 18)
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas, 'RGBA')
    y, margin = 6, 6
    for i, line in enumerate(map(shown, lines)):
        font = _font(large if i == 0 else max(11, large * 2 // 3))
        left, top, right, bottom = draw.textbbox((margin, y), line, font=font)
        draw.rectangle((left - 4, top - 3, right + 4, bottom + 3), fill=(0, 0, 0, 150))
        draw.text((margin, y), line, font=font, fill=(255, 255, 255, 255))
        y = bottom + 8
    return np.asarray(canvas)


@functools.cache
def _font(size: int):
    """Matplotlib's DejaVu Sans, which has the letters of most alphabets."""
    import matplotlib
    from PIL import ImageFont

    path = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf'
    return ImageFont.truetype(str(path), size)
