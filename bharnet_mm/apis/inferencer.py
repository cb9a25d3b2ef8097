"""Predictions for videos, streams and clips."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..datasets.clip import Clip
from ..datasets.extraction.estimators import Estimator, build_estimator
from ..errors import ConfigError
from ..layouts import SkeletonLayout, get_layout
from .recognizer import Recognizer, load_recognizer
from .region_grids import Grid, StoredGrids, cutter_of
from .results import Result, as_result
from .sources import Clips, Video, read_source
from .windows import Window, WindowBuffer

SECOND_PERSON = 'a second person is in the picture, who is not followed'


class BodyHandInferencer:
    """Recognises actions in videos, streams and clips.

    ::

        infer = BodyHandInferencer('bharnet_light_asl10')
        for result in infer('video.mp4'):
            print(result.start, result.end, result.person, result.label)

    A video is divided into windows of ``window`` seconds that begin every ``stride`` seconds. A
    video of at most one and a half windows is one window, like the trimmed clips of the training.
    Each person gets an own answer. Frames are read once and not kept, and a result is given as soon
    as its window has ended, so a stream can be endless.

    A model with an rgb expert (BHaRNet-M) gets its region grids out of the frames, cut as in its
    training; the frames of one window are kept for that. For a clip store they are read from the
    region store ``STORE_regions``. A result without a grid says so in its ``notes``.

    Args:
        model: See :func:`load_recognizer`.
        checkpoint: The weights, if ``model`` is a config.
        device: Device in torch's notation. Defaults to the GPU if there is one.
        window: Seconds of a window. Defaults to those of the model.
        stride: Seconds from one window to the next. Defaults to half a window.
        top_k: Largest number of labels of a result.
        batch_size: Clips of a store that are computed at once. The windows of a video are computed
            one by one, as soon as they have ended.
        max_persons: Largest number of persons in a window; those who move most are taken.
        per_person: Whether each person gets an own answer. Defaults to True for videos. The persons
            of a clip always get a common answer, as in a test.
        backend: Finds bodies and hands in videos: a name of docs/extraction.md, or an
            ``Estimator``.
        min_score: Hands of lower confidence are left out.
        models: Folder of the backend's model files, if it needs one.

    Raises:
        BHaRNetError: See :func:`load_recognizer`; a window or stride that is not above 0.
    """

    def __init__(
        self,
        model: str | os.PathLike | Recognizer,
        checkpoint: str | os.PathLike | None = None,
        *,
        device: str | None = None,
        window: float | None = None,
        stride: float | None = None,
        top_k: int = 5,
        batch_size: int = 8,
        max_persons: int = 2,
        per_person: bool = True,
        backend: str | Estimator = 'mediapipe',
        min_score: float = 0.5,
        models: str | os.PathLike | None = None,
    ) -> None:
        for name, value in (('window', window), ('stride', stride)):
            if value is not None and not value > 0:
                raise ConfigError(
                    'BodyHandInferencer', f'{name}={value}', 'seconds above 0', 'correct it'
                )
        if not 0 <= min_score <= 1:
            raise ConfigError('BodyHandInferencer', f'min_score={min_score}', '0 to 1')
        for name, value in (
            ('top_k', top_k),
            ('batch_size', batch_size),
            ('max_persons', max_persons),
        ):
            if value < 1:
                raise ConfigError('BodyHandInferencer', f'{name}={value}', '1 or more')
        if isinstance(model, (str, os.PathLike)):
            model = load_recognizer(model, checkpoint, device)
        self.recognizer: Recognizer = model
        self.card = model.card
        self.window = window or self.card.window
        self.stride = stride or self.window / 2
        self.top_k, self.batch_size = top_k, batch_size
        self.max_persons, self.per_person = max_persons, per_person
        self.backend, self.min_score, self.models = backend, min_score, models
        self._estimator: Any = None if isinstance(backend, str) else backend
        self._cutter = cutter_of(self.card)

    def __repr__(self) -> str:
        return (
            f'BodyHandInferencer({self.card.name!r}, window={self.window}, stride={self.stride}, '
            f'backend={self.backend!r})'
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the model's outputs."""
        return self.card.classes

    def __call__(
        self,
        source: Any,
        *,
        fps: float | None = None,
        tick: Callable[[str, int, int], None] = lambda name, done, total: None,
    ) -> Iterator[Result]:
        """Results of a source, in the order of time.

        Args:
            source: A video, a folder or pattern of videos, a clip store or ``Clip``, a camera
                number, the address of a stream, frames, or a list of these; see
                :func:`read_source`.
            fps: Frames per second of frames given as arrays. Defaults to 30.
            tick: Called after each frame with the source's name, the frames done and the frames in
                all, 0 if that is unknown.

        Yields:
            A result for each window and person. A window in which nobody is found gives one result
            that is unsure, with ``person`` None.

        Raises:
            BHaRNetError: The source cannot be read, a backend is missing, or the model was not
                trained on such bodies.
        """
        for item in read_source(source, fps):
            if isinstance(item, Clips):
                yield from self._clips(item)
            else:
                yield from self._video(item, tick)

    def _clips(self, item: Clips) -> Iterator[Result]:
        store = item.store
        layout = self.card.layout if store is None else store.body_layout
        channels = self.card.channels if store is None else store.channels
        stored = None
        if self._cutter is not None and store is not None:
            stored = StoredGrids(store.path, self.card)
        batch: list[Clip] = []
        for clip in item.clips:
            batch.append(clip)
            if len(batch) == self.batch_size:
                yield from self._results_of_clips(batch, layout, channels, stored)
                batch = []
        yield from self._results_of_clips(batch, layout, channels, stored)

    def _results_of_clips(
        self,
        batch: list[Clip],
        layout: SkeletonLayout,
        channels: dict,
        stored: StoredGrids | None,
    ) -> Iterator[Result]:
        grids = None if stored is None else [stored.read(clip) for clip in batch]
        said = self.recognizer.predict(batch, layout, channels, self.top_k, grids=grids)
        if stored is not None and stored.absent:
            said = [replace(one, notes=(*one.notes, stored.absent)) for one in said]
        for clip, prediction in zip(batch, said, strict=True):
            first = 0 if clip.num_persons == 1 else None
            pixel = clip.body if clip.body_pixel is None else clip.body_pixel
            size = np.array(clip.image_size if all(clip.image_size) else (1, 1), np.float32)
            rate = clip.fps or 30.0
            yield as_result(
                prediction,
                video=clip.clip_id,
                start=float(clip.frame_index[0]) / rate,
                end=float(clip.frame_index[-1] + 1) / rate,
                person=first,
                frame_index=clip.frame_index,
                body=pixel[0, ..., :2],
                body_score=clip.body_score[0],
                hand=clip.hand[0, ..., :2] * size,
                hand_score=clip.hand_score[0],
                layout=layout,
            )

    def _video(self, video: Video, tick: Callable[[str, int, int], None]) -> Iterator[Result]:
        from ..datasets.extraction.bystanders import BystanderWatch
        from ..datasets.extraction.tracking import BodyHandTracker

        tracker = BodyHandTracker(self._build_estimator())
        watch = BystanderWatch(self._build_estimator())
        rate = video.fps or 30.0
        length = max(1, round(self.window * rate))
        if 0 < video.frames <= 1.5 * length:
            length = video.frames
        buffer = WindowBuffer(length, max(1, round(self.stride * rate)))
        for number, image in enumerate(video.open()):
            kept = None if self._cutter is None else image
            bodies, hands = tracker.step(image)
            watch.step(image, list(bodies.values()))
            window = buffer.add(number, image.shape[1::-1], bodies, hands, kept)
            tick(video.name, number + 1, video.frames)
            if window is not None:
                yield from self._results(video, self._ask(video, window, rate), watch.found)
        last = buffer.end()
        if last is not None:
            yield from self._results(video, self._ask(video, last, rate), watch.found)

    def _build_estimator(self) -> Any:
        if self._estimator is None:
            self._estimator = build_estimator(self.backend, self.models, self.min_score)
        return self._estimator

    @property
    def _channels(self) -> dict[str, tuple[str, ...]]:
        estimator = self._build_estimator()
        return {'body': estimator.body_channels, 'hand': estimator.hand_channels}

    def _ask(self, video: Video, window: Window, rate: float) -> list[_Asked]:
        """The clips of a window, one a person, with their grids."""
        estimator = self._build_estimator()
        layout = get_layout(estimator.body_layout)
        tracks = window.tracks(self.max_persons)
        groups = [[person] for person in tracks] if self.per_person else [list(tracks)]
        asked = []
        for group in groups or [[]]:
            name = f'{video.name}, frames {window.first} to {window.last}'
            chosen = [tracks[person] for person in group]
            clip = window.clip(chosen, estimator, clip_id=name, label=0, fps=rate)
            grid = None
            if self._cutter is not None:
                grid = self._cutter.cut(clip, layout, self._channels, window.images)
            place = dict(
                start=window.first / rate,
                end=(window.last + 1) / rate,
                person=group[0] if len(group) == 1 else None,
                **window.arrays(chosen[0] if chosen else None, layout.num_joints),
            )
            asked.append(_Asked(clip, grid, place))
        return asked

    def _results(self, video: Video, asked: list[_Asked], second: bool) -> Iterator[Result]:
        layout = get_layout(self._build_estimator().body_layout)
        said = self.recognizer.predict(
            [one.clip for one in asked],
            layout,
            self._channels,
            self.top_k,
            grids=None if self._cutter is None else [one.grid for one in asked],
        )
        again = (lambda: enumerate(video.open())) if video.again else None
        for prediction, one in zip(said, asked, strict=True):
            if second:
                prediction = replace(prediction, notes=(*prediction.notes, SECOND_PERSON))
            yield as_result(
                prediction, video=video.name, layout=layout, read_frames=again, **one.place
            )


@dataclass
class _Asked:
    """The input of the model for one person of a window."""

    clip: Clip
    grid: Grid | None
    place: dict[str, Any]
