"""The data set of body-hand clips."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mmaction.registry import DATASETS, TRANSFORMS
from mmengine.dataset import Compose
from mmengine.logging import MMLogger
from torch.utils.data import Dataset

from ..errors import ConfigError, StoreError
from ..registration import mmaction_scope
from . import registration  # noqa: F401  the names that a pipeline uses
from .clip import pipeline_input
from .store import ClipStore
from .transforms.select_channels import SelectChannels


@DATASETS.register_module()
class BodyHandDataset(Dataset):
    """A data set that reads the clips of a store and applies a pipeline to each.

    Only the numbers of the clips are kept in memory. Each spawned worker opens the store again by
    its path. The pipeline gets a dict with these keys (M persons, T frames):

    - ``clip_id``, ``label``, ``total_frames``
    - ``body`` (M, T, V, C) float32, ``body_visible`` (M, T) bool
    - ``hand`` (M, 2, T, 21, C) float32, ``hand_visible`` (M, 2, T) bool, all False if the store has
      no hands
    - ``body_layout``, ``hand_layout``: ``SkeletonLayout``
    - ``frame_index`` (T,), ``video``, ``image_size`` (width, height), ``fps``
    - ``body_pixel`` (M, T, V, 2) float32 or None
    - ``body_joint_visible`` (M, T, V), ``hand_joint_visible`` (M, 2, T, 21) bool, if the store has
      joint scores: False if a single joint is missing and its position was filled

    Coordinates in fractions of an image are converted to units of its width (``Clip.squared``), so
    that transforms can measure lengths and angles. Other arrays are read-only views of the store.

    Args:
        store: Path of a clip store, or an opened one.
        pipeline: Transforms, as config dicts or callables.
        split: Name of a split of the store, a rule such as ``dict(subject=['1', '2'])``, or None
            for all clips.
        nonfinite: What to do with NaN or infinity in a visible frame: ``error``, or ``mask`` to
            make the frame missing. The first such clip of each process is logged; ``num_masked``
            counts the frames.
        min_score: A frame is visible where its score is above this.
        min_joint_score: A joint is there where its own score is above this; others of a visible
            frame are filled from the frames that show them.
        test_mode: Whether the clips are tested on; the pipeline decides what is random in it.
        regions: Arguments of a :class:`CutRegions` that cuts images before anything else of the
            pipeline. Without ``store`` and ``data_root`` they come from the region store beside the
            clip store, ``STORE_regions``. Frames are drawn at random unless ``test_mode``. None for
            no images.
        repeat: How often the clips are gone through in one epoch.
        check: Whether each clip's checksum is compared when it is first read.
        min_clips: An epoch has at least this many clips: ``repeat`` is raised to what that takes.
            So a set of some dozens of clips is trained for as many steps as one of some hundreds.

    Raises:
        StoreError: The store does not exist, is damaged, has labels outside the classes or no
            clips.
        ConfigError: An argument is wrong, or the split is unknown or matches no clip.
        ClipError: When a clip is read: it has non-finite coordinates and ``nonfinite='error'``.
    """

    def __init__(
        self,
        store: str | os.PathLike | ClipStore,
        pipeline: Sequence[dict | Callable],
        split: str | Mapping | None = None,
        nonfinite: str = 'error',
        min_score: float = 0.0,
        test_mode: bool = False,
        repeat: int = 1,
        check: bool = True,
        min_joint_score: float = 0.0,
        regions: Mapping | None = None,
        min_clips: int = 0,
    ) -> None:
        if nonfinite not in ('error', 'mask'):
            self._fail('nonfinite', nonfinite, "'error' or 'mask'")
        if not 0 <= min_score < 1:
            self._fail('min_score', min_score, 'a number in [0, 1)')
        if not 0 <= min_joint_score < 1:
            self._fail('min_joint_score', min_joint_score, 'a number in [0, 1)')
        if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
            self._fail('repeat', repeat, 'a whole number from 1')
        if isinstance(min_clips, bool) or not isinstance(min_clips, int) or min_clips < 0:
            self._fail('min_clips', min_clips, 'a whole number from 0')
        self.store = store if isinstance(store, ClipStore) else ClipStore(store, check)
        self.split = split
        self.nonfinite = nonfinite
        self.min_score = min_score
        self.min_joint_score = min_joint_score
        self.test_mode = test_mode
        self.num_masked = 0
        if not len(self.store):
            raise StoreError(f'{self.store.path}', 'a store without clips', 'clips', 'convert some')
        self.indices = self.store.select(split)
        self.repeat = max(repeat, math.ceil(min_clips / len(self.indices)))
        if isinstance(split, str) and (absent := self.store.absent_values(split)):
            lacking = '; '.join(f'{key} {", ".join(v[:8])}' for key, v in absent.items())
            MMLogger.get_current_instance().warning(
                f'split {split!r} of store {str(self.store.path)!r} names what no clip has '
                f'({lacking}): a part of the data set'
            )
        self._check_labels()
        if regions is not None:
            # The first step: regions are cut where the joints are in the video.
            source = {} if regions.get('data_root') else dict(store=f'{self.store.path}_regions')
            step = dict(type='CutRegions', random=not test_mode) | source | dict(regions)
            pipeline = [step, *pipeline]
        with mmaction_scope():
            self.pipeline = Compose(
                [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
            )
        self.input_channels = self._input_channels()

    @staticmethod
    def _fail(name: str, found: Any, expected: str) -> None:
        raise ConfigError(f'BodyHandDataset, {name}', f'{found!r}', expected, f'correct {name}')

    def _check_labels(self) -> None:
        labels = self.store.labels[self.indices]
        wrong = np.flatnonzero((labels < 0) | (labels >= len(self.store.classes)))
        if wrong.size:
            first = int(self.indices[wrong[0]])
            raise StoreError(
                f'{self.store.path}, clip {self.store[first].clip_id!r}',
                f'label {labels[wrong[0]]} ({wrong.size} such clips)',
                f'a class number from 0 to {len(self.store.classes) - 1}',
                'convert the store again with all of its classes listed',
            )

    @property
    def metainfo(self) -> dict[str, Any]:
        """Facts for the runner, its checkpoints and the metrics, as plain data."""
        return {
            'dataset': self.store.name,
            'classes': list(self.store.classes),
            'body_layout': self.store.body_layout.name,
            'hand_layout': self.store.hand_layout.name if self.store.has_hands else None,
            'input_channels': self.input_channels,
        }

    def _input_channels(self) -> dict[str, list[str]]:
        """Names of the channels at the end of the pipeline, of ``body`` and, where there are hands,
        ``hand``.
        """
        parts = ('body', 'hand') if self.store.has_hands else ('body',)
        names = {part: list(self.store.channels[part]) for part in parts}
        for step in self.pipeline.transforms:
            part = getattr(step, 'part', None)
            if not isinstance(step, SelectChannels) or part not in names:
                continue
            have = names[part]
            for wanted, i in zip(step.channels, step.index, strict=True):
                if isinstance(wanted, str) and i < len(have) and have[i] != wanted:
                    self._fail(
                        f'SelectChannels of the {part}',
                        list(step.channels),
                        f'some of {have}, the channels of {self.store.path}',
                    )
            names[part] = [have[i] for i in step.index if i < len(have)]
        return names

    def full_init(self) -> None:
        """Does nothing. MMEngine's dataset wrappers call it."""

    def __len__(self) -> int:
        return len(self.indices) * self.repeat

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(store={str(self.store.path)!r}, split={self.split!r}, '
            f'num_clips={len(self.indices)}, repeat={self.repeat}, nonfinite={self.nonfinite!r}, '
            f'min_score={self.min_score}, min_joint_score={self.min_joint_score})'
        )

    def _number(self, idx: int) -> int:
        """Number of the clip in the store."""
        if not -len(self) <= idx < len(self):
            raise IndexError(f'clip {idx} of {len(self)}')
        return int(self.indices[idx % len(self.indices)])

    def get_cat_ids(self, idx: int) -> list[int]:
        """The class of a clip in a list, for MMEngine's ``ClassBalancedDataset``."""
        return [int(self.store.labels[self._number(idx)])]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """The input of the pipeline for one clip."""
        clip = self.store[self._number(idx)]
        masked, count = clip.with_nonfinite_masked()
        if count and self.nonfinite == 'error':
            clip.validate(self.store.body_layout, self.store.hand_layout, len(self.store.classes))
        if count:
            if not self.num_masked:
                MMLogger.get_current_instance().warning(
                    f'clip {clip.clip_id!r}: {count} frames with NaN or infinity are taken as '
                    'missing; further ones are not logged (tools/data/doctor.py lists all)'
                )
            self.num_masked += count
        return pipeline_input(
            masked,
            self.store.body_layout,
            self.store.hand_layout,
            self.min_score,
            self.min_joint_score,
        )

    def prepare_data(self, idx: int) -> Any:
        """The output of the pipeline for one clip."""
        data = self.pipeline(self.get_data_info(idx))
        if data is None:
            clip_id = self.store[self._number(idx)].clip_id
            raise ConfigError(
                f'pipeline, clip {clip_id!r}',
                'a transform that returned None',
                'transforms that return the results',
                'use transforms that never drop a clip',
            )
        return data

    def __getitem__(self, idx: int) -> Any:
        return self.prepare_data(idx)
