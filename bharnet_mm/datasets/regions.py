"""Region grids: squares around some joints in some frames of a clip, side by side in one image.

A grid has one row of cells per part of the body and one column per frame. If two people are visible
in a frame, they share each cell of its column, left and right as in the image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..anatomy import forearms
from ..errors import ConfigError
from ..layouts import REGION_PARTS, REGION_WHOLES, SkeletonLayout

#: Side of the square of a whole body, in lengths of the box around its joints.
_PERSON = 1.2


def forearm_length(points: np.ndarray, known: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
    """Length of a forearm without foreshortening, which measures the size of a person in the image.

    It is the largest of four estimates, from forearm, upper arm, trunk and shoulder width, by an
    adult's proportions. The largest is used, because foreshortening only makes lengths smaller.

    Args:
        points: Joints in the image, ``(..., V, 2)``.
        known: Which of them are known, ``(..., V)`` bool.
        layout: Layout with the joints; those it lacks are not used. Without any of them, its
            ``scale`` pair is used as a trunk.

    Returns:
        ``(...)``, 0 if nothing is known.
    """
    shares, a, b = (list(column) for column in zip(*forearms(layout), strict=True))
    points = np.where(known[..., None], points, 0)
    length = np.linalg.norm(points[..., a, :] - points[..., b, :], axis=-1)
    length = length * shares
    return np.where(known[..., a] & known[..., b], length, 0).max(axis=-1)


@dataclass(frozen=True)
class RegionGrid:
    """The settings of region grids.

    Args:
        parts: Names in the layout's ``parts``; one row of cells each, in this order. ``person`` is
            the square around all joints in the image, ``scene`` the whole frame.
        num_frames: Number of frames; one column each.
        cell: Side of a cell in pixels.
        size: Side of the square around a joint, in forearm lengths of the person (see
            ``forearm_length``; the median over the clip). Two people get half its width each.
        max_persons: 1 or 2; of more persons the first ones are taken.
        num_offsets: The frames in which somebody is visible are divided into ``num_frames`` equal
            pieces, and one frame is taken from each. Offset s of S lies at ``(s + 1/2) / S`` of its
            piece. An odd number has a middle offset.
        motion: Whether the grids have a fourth channel: the difference of each cell from the same
            square in the next frame of the clip (in the last frame, from the one before), see
            :func:`motion_of`.

    Raises:
        ConfigError: An argument is wrong.
    """

    parts: tuple[str, ...] = REGION_PARTS
    num_frames: int = 5
    cell: int = 48
    size: float = 1.5
    max_persons: int = 2
    num_offsets: int = 3
    motion: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(
            self, 'parts', (self.parts,) if isinstance(self.parts, str) else tuple(self.parts)
        )
        named = all(isinstance(part, str) for part in self.parts)
        self._check(self.parts and named and len(set(self.parts)) == len(self.parts), 'parts',
                    'names of parts, each once')  # fmt: skip
        self._check(_is_count(self.num_frames), 'num_frames', 'a whole number of at least 1')
        even = _is_count(self.cell, 2) and self.cell % 2 == 0
        self._check(even, 'cell', 'an even number of pixels')
        number = isinstance(self.size, (int, float)) and not isinstance(self.size, bool)
        self._check(number and 0 < self.size < np.inf, 'size', 'a number above 0')
        self._check(self.max_persons in (1, 2), 'max_persons', '1 or 2')
        odd = _is_count(self.num_offsets) and self.num_offsets % 2 == 1
        self._check(odd, 'num_offsets', 'an odd number')
        self._check(isinstance(self.motion, bool), 'motion', 'True or False')

    def _check(self, ok: Any, name: str, expected: str) -> None:
        if not ok:
            raise ConfigError(
                f'region grid, {name}', repr(getattr(self, name)), expected, f'correct {name}'
            )

    @property
    def channels(self) -> int:
        """Number of channels: red, green, blue, and motion if it is used."""
        return 3 + self.motion

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a grid in pixels."""
        return len(self.parts) * self.cell, self.num_frames * self.cell

    @property
    def middle(self) -> int:
        """The offset that is used without randomness."""
        return self.num_offsets // 2

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain types."""
        return asdict(self) | {'parts': list(self.parts)}

    def empty(self) -> tuple[np.ndarray, np.ndarray]:
        """The grid of a clip without regions, and its mask."""
        shape = (self.channels, *self.shape)
        return np.zeros(shape, np.uint8), np.zeros((len(self.parts), self.num_frames), bool)

    def assemble(
        self, columns: Iterable[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Columns ``(R cell, cell, C)`` with masks ``(R,)`` to a grid ``(C, H, W)`` and its mask
        ``(R, F)``.
        """
        images, masks = zip(*columns, strict=True)
        rgb = np.concatenate(images, axis=1).transpose(2, 0, 1)
        return np.ascontiguousarray(rgb), np.stack(masks, axis=1)

    def mirror(self, rgb: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The grid of the flipped video: each cell flipped, rows of left and right parts exchanged.

        Raises:
            ConfigError: Only one side of a part is in the grid.
        """
        rows = [self._row(_other_side(part)) for part in self.parts]
        cells = self.cells(rgb)[:, rows][..., ::-1]
        return np.ascontiguousarray(cells).reshape(rgb.shape), mask[rows]

    def cells(self, rgb: np.ndarray) -> np.ndarray:
        """A view of a grid ``(C, H, W)`` as ``(C, R, cell, F, cell)``."""
        return rgb.reshape(-1, len(self.parts), self.cell, self.num_frames, self.cell)

    def jitter(self, rgb: np.ndarray, amount: float) -> np.ndarray:
        """The grid with each cell moved and scaled a little, and with changed brightness and
        contrast.

        The changes are drawn from numpy's global generator. Each cell is moved and scaled by up to
        ``amount`` of its side, with its edge repeated outside. Brightness and contrast change by up
        to ``amount``.
        """
        import cv2

        out = np.empty_like(rgb)
        cells, new = self.cells(rgb), self.cells(out)
        middle = (self.cell - 1) / 2
        for row, column in np.ndindex(len(self.parts), self.num_frames):
            zoom = 1 + np.random.uniform(-amount, amount)
            shift = np.random.uniform(-amount, amount, 2) * self.cell
            turn = np.array([[zoom, 0, 0], [0, zoom, 0]])
            turn[:, 2] = middle + shift - zoom * middle
            piece = np.ascontiguousarray(cells[:, row, :, column].transpose(1, 2, 0))
            size = (self.cell, self.cell)
            piece = cv2.warpAffine(piece, turn, size, borderMode=cv2.BORDER_REPLICATE)
            new[:, row, :, column] = piece.transpose(2, 0, 1)
        contrast = 1 + np.random.uniform(-amount, amount)
        light = 255 * np.random.uniform(-amount, amount) / 2
        colours = (out[:3].astype(np.float32) - 128) * contrast + 128 + light
        out[:3] = np.clip(colours, 0, 255).astype(np.uint8)
        return out

    def _row(self, part: str) -> int:
        if part not in self.parts:
            raise ConfigError(
                'mirroring a region grid',
                f'parts {list(self.parts)} without {part!r}',
                'both sides of each part',
                'add it to parts, or do not mirror',
            )
        return self.parts.index(part)


class ClipRegions:
    """The places of the regions of one clip.

    Args:
        grid: The settings.
        pixel: Positions of the joints, ``(M, T, V, 2)``. Not finite or (-1, -1) is unknown.
        visible: ``(M, T)`` bool.
        layout: Layout of the body.
        image_size: (width, height) of the image to which ``pixel`` refers; (0, 0) means that of the
            video.

    Raises:
        ConfigError: The layout lacks a part.
    """

    def __init__(
        self,
        grid: RegionGrid,
        pixel: np.ndarray,
        visible: np.ndarray,
        layout: SkeletonLayout,
        image_size: tuple[int, int] = (0, 0),
    ) -> None:
        known = (*layout.parts, *REGION_WHOLES)
        lacking = [part for part in grid.parts if part not in known]
        if lacking:
            raise ConfigError(
                f'region grid on layout {layout.name!r}',
                f'no part {lacking[0]!r} in it',
                f'some of {sorted(known)}',
                'correct parts',
            )
        persons = np.flatnonzero(visible.any(axis=1))[: grid.max_persons]
        self.grid, self.image_size = grid, tuple(image_size)
        self.visible = visible[persons]
        pixel = pixel[persons].astype(np.float64)
        known = np.isfinite(pixel).all(axis=-1) & ~(pixel == -1).all(axis=-1)
        known &= self.visible[..., None]
        pixel = np.where(known[..., None], pixel, 0)
        length = forearm_length(pixel, known, layout)
        sides = np.array([_median(row) for row in length]) * grid.size
        # Of each person, frame and row.
        self.sides = np.broadcast_to(sides[:, None, None], (*known.shape[:2], len(grid.parts)))
        index = [layout.part_index(part) for part in grid.parts]
        self.centers = np.stack([pixel[:, :, i].mean(axis=2) for i in index], axis=2)
        self.known = np.stack([known[:, :, i].all(axis=2) for i in index], axis=2)
        self.num_frames = pixel.shape[1]
        for row, part in enumerate(grid.parts):
            if part == 'person':
                self._around(row, pixel, known)
        num = np.maximum(known.sum(axis=(1, 2)), 1)
        self.order = np.argsort(pixel[..., 0].sum(axis=(1, 2)) / num, kind='stable')

    def _around(self, row: int, pixel: np.ndarray, known: np.ndarray) -> None:
        """Sets a row to the square around all joints inside the image."""
        if all(self.image_size):
            known = known & ((pixel >= 0) & (pixel < np.array(self.image_size))).all(axis=-1)
        low = np.where(known[..., None], pixel, np.inf).min(axis=2)
        high = np.where(known[..., None], pixel, -np.inf).max(axis=2)
        found = known.sum(axis=2) > 1
        low, high = (np.where(found[..., None], x, 0.0) for x in (low, high))
        self.sides = np.array(self.sides)
        self.sides[:, :, row] = np.maximum(_PERSON * (high - low).max(-1), self.sides[:, :, row])
        self.centers[:, :, row] = (low + high) / 2
        self.known[:, :, row] = found

    @property
    def empty(self) -> bool:
        """Whether nobody is visible in any frame."""
        return not self.visible.any()

    def frames(self, offset: int) -> np.ndarray:
        """The clip's frames of one offset, one per column, ``(F,)``; not for an empty clip."""
        frames = np.flatnonzero(self.visible.any(axis=0))
        grid = self.grid
        # Whole numbers are used to avoid rounding.
        odd = 2 * (np.arange(grid.num_frames) * grid.num_offsets + offset) + 1
        return frames[odd * len(frames) // (2 * grid.num_offsets * grid.num_frames)]

    def neighbour(self, t: int) -> int:
        """The frame with which frame t is compared for motion: the next one, or for the last frame
        the one before.
        """
        return t + 1 if t + 1 < self.num_frames else max(t - 1, 0)

    def column(self, t: int, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cells of frame t of the clip.

        Args:
            t: Position in the clip.
            image: That frame, RGB ``(H, W, 3)`` uint8, of any size.

        Returns:
            ``(R cell, cell, 3)`` uint8, and ``(R,)`` whether anybody's region is in the image.
            Places outside the image are black.
        """
        cell = self.grid.cell
        out = np.zeros((len(self.grid.parts) * cell, cell, 3), np.uint8)
        mask = np.zeros(len(self.grid.parts), bool)
        for box in self.boxes(t, image.shape[1::-1]):
            mask[box.row] = True
            wide = cell // box.of
            rows, columns = (
                slice(box.row * cell, (box.row + 1) * cell),
                slice(box.place * wide, None),
            )
            piece = _cut(image, box.center, box.size, (wide, cell))
            out[rows, columns][:, :wide] = piece
        return out, mask

    def boxes(self, t: int, size: tuple[int, int]) -> list[RegionBox]:
        """Boxes of the regions in frame ``t`` of an image of ``size`` (width, height)."""
        scale = np.ones(2)
        if all(self.image_size) and self.image_size != tuple(size):
            scale = np.array(size) / self.image_size
        people = [p for p in self.order if self.visible[p, t]]
        out = []
        for place, p in enumerate(people):
            for row, part in enumerate(self.grid.parts):
                if part == 'scene':
                    if place == 0:
                        middle, side = (size[0] / 2, size[1] / 2), (float(max(size)),) * 2
                        out.append(RegionBox(row, 0, 1, middle, side))
                    continue
                side = self.sides[p, t, row] * scale  # a rectangle where pixels are not square
                x, y = ((self.centers[p, t, row] + 0.5) * scale).tolist()
                inside = 0 <= x < size[0] and 0 <= y < size[1]
                if inside and self.known[p, t, row] and side[0] > 0:
                    wide, high = float(side[0]) / len(people), float(side[1])
                    out.append(RegionBox(row, place, len(people), (x, y), (wide, high)))
        return out


@dataclass(frozen=True)
class RegionBox:
    """One region in one frame.

    Args:
        row: Row of the grid.
        place, of: Number of the person in the cell, and how many people it has.
        center, size: In pixels, (x, y) and (width, height); the middle of the first pixel is (0.5,
        0.5).
    """

    row: int
    place: int
    of: int
    center: tuple[float, float]
    size: tuple[float, float]


def _cut(
    image: np.ndarray, center: tuple[float, float], size: tuple[float, float], out: tuple[int, int]
) -> np.ndarray:
    """Cuts a rectangle (width, height) around a place, in whole pixels, and resizes it to ``out``;
    outside the image it is black.
    """
    spans = []
    for middle, length, limit in zip(center, size, image.shape[1::-1], strict=True):
        length = max(round(length), 1)
        low = int(np.floor(middle - length / 2 + 0.5))
        spans.append((length, low, max(low, 0), min(low + length, limit)))
    (width, x, x0, x1), (height, y, y0, y1) = spans
    if x0 > x or y0 > y or x1 < x + width or y1 < y + height:
        piece = np.zeros((height, width, 3), np.uint8)
        piece[y0 - y : y1 - y, x0 - x : x1 - x] = image[y0:y1, x0:x1]
    else:
        piece = image[y:y1, x:x1]
    import cv2  # here, since an exported model's runtime imports this module without OpenCV

    shrinks = width >= out[0] and height >= out[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(piece), out, interpolation=method)


def _median(lengths: np.ndarray) -> float:
    lengths = lengths[lengths > 0]
    return float(np.median(lengths)) if lengths.size else 0.0


def _other_side(part: str) -> str:
    if part.startswith('left_'):
        return 'right_' + part.removeprefix('left_')
    return 'left_' + part.removeprefix('right_') if part.startswith('right_') else part


def _is_count(value: Any, low: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low
