"""One action clip: the body and both hands of up to M persons over T frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ClipError
from ..layouts import SkeletonLayout, get_layout
from .coordinates import UNITS, square
from .joints import with_joints_filled

#: Largest coordinate of a visible joint. Skeletons in pixels, millimetres or metres stay far below
#: it, and its square is finite.
MAX_COORDINATE = 1e6


#: Names under which a data sample may have the id of its clip: ours, then MMAction2's.
ID_KEYS = ('clip_id', 'frame_dir', 'filename', 'video_id')


@dataclass
class Clip:
    """One action clip, as a source makes it and a clip store returns it.

    A person is visible in a frame if the score is above 0. Coordinates of missing entries have no
    meaning. Persons are ordered by motion, then by score.

    Args:
        clip_id: Unique name.
        label: Class number.
        body: Body joints, (M, T, V, C) float32.
        body_score: Confidence per person and frame, (M, T) float32 in [0, 1]; 0 = missing.
        hand: Left then right hand joints, (M, 2, T, 21, Ch) float32.
        hand_score: Confidence per hand and frame, (M, 2, T) float32 in [0, 1]; 0 = missing.
        frame_index: Frame numbers in the source, rising, (T,) int32.
        body_pixel: Pixel position (x, y) of the body joints in the video, (M, T, V, 2) float32, or
            None.
        subject: The person who acts.
        camera: The camera.
        setup: The arrangement of cameras.
        source: The data set or file format it came from.
        video: Path of the video, relative to the data set.
        image_size: (width, height) of the video in pixels, (0, 0) if unknown.
        fps: Frames per second, 0 if unknown.
        body_joint_score: Confidence of each body joint, (M, T, V) in [0, 1], 0 = missing; None if
            no joint of a visible frame is missing.
        hand_joint_score: The same for the hands' joints, (M, 2, T, 21).
        units: Units of body and hand coordinates, see ``coordinates.UNITS``; '' if unknown.
    """

    clip_id: str
    label: int
    body: np.ndarray
    body_score: np.ndarray
    hand: np.ndarray
    hand_score: np.ndarray
    frame_index: np.ndarray
    body_pixel: np.ndarray | None = None
    subject: str = ''
    camera: str = ''
    setup: str = ''
    source: str = ''
    video: str = ''
    image_size: tuple[int, int] = (0, 0)
    fps: float = 0.0
    body_joint_score: np.ndarray | None = None
    hand_joint_score: np.ndarray | None = None
    units: tuple[str, str] = ('', '')

    @property
    def num_persons(self) -> int:
        """Number of persons, M."""
        return self.body.shape[0]

    @property
    def num_frames(self) -> int:
        """Number of frames, T."""
        return self.body.shape[1]

    def validate(
        self,
        body_layout: str | dict | SkeletonLayout,
        hand_layout: str | dict | SkeletonLayout | None = 'hand',
        num_classes: int | None = None,
    ) -> None:
        """Checks types, shapes and values of all fields.

        Args:
            body_layout: Gives the number of body joints.
            hand_layout: Gives the number of hand joints; None if the clip must show no hand.
            num_classes: Labels must lie below it; None sets no upper limit.

        Raises:
            ClipError: Wrong types or shapes, integer or 16-bit coordinates, no frames, frame
                counts that disagree, scores outside [0, 1], NaN or infinity in a visible entry, a
                label outside the classes.
        """
        body_layout = get_layout(body_layout)
        hand_layout = None if hand_layout is None else get_layout(hand_layout)
        if not isinstance(self.clip_id, str) or not self.clip_id:
            self._fail(
                f'clip_id {self.clip_id!r}', 'a non-empty string', 'give each clip a unique id'
            )
        self._check_label(num_classes)
        self._check_video()
        self._check_arrays()
        self._check_shapes(body_layout, hand_layout)
        self._check_scores()
        self._check_finite()
        if hand_layout is None and np.any(self.hand_score > 0):
            self._fail(
                'visible hands',
                'no hands, as there is no hand layout',
                'give the store a hand layout, or set hand_score to 0',
            )

    def with_nonfinite_masked(self) -> tuple[Clip, int]:
        """A copy in which person or hand frames with a NaN or infinite value are missing.

        Returns:
            The clip (itself if all values are finite) and the number of masked frames of bodies and
            hands.
        """
        body_bad, hand_bad = self._nonfinite()
        count = int(body_bad.sum() + hand_bad.sum())
        if not count:
            return self, 0
        body_score = np.where(body_bad, np.float32(0), self.body_score)
        hand_score = np.where(hand_bad, np.float32(0), self.hand_score)
        return replace(self, body_score=body_score, hand_score=hand_score), count

    @property
    def num_missing_joints(self) -> int:
        """Number of missing joints in frames in which their body or hand is visible."""
        count = 0
        for part in ('body', 'hand'):
            score = getattr(self, f'{part}_joint_score')
            if score is not None:
                visible = getattr(self, f'{part}_score') > 0
                count += int(np.count_nonzero(visible[..., None] & (score <= 0)))
        return count

    def squared(self) -> Clip:
        """The clip with image fractions in units of the image's width, so that lengths and
        angles can be measured; itself if nothing is a fraction or the image size is unknown.
        """
        changed = {}
        for part, unit in zip(('body', 'hand'), self.units, strict=True):
            x = getattr(self, part)
            if unit == 'fraction' and (y := square(x, self.image_size)) is not x:
                changed[part] = y
        if not changed:
            return self
        units = tuple(
            'width' if part in changed else unit
            for part, unit in zip(('body', 'hand'), self.units, strict=True)
        )
        return replace(self, **changed, units=units)

    def _nonfinite(self) -> tuple[np.ndarray, np.ndarray]:
        """Visible frames with a non-finite value: bodies (M, T) and hands (M, 2, T)."""
        body = _nonfinite(self.body, self.body_score, self.body_joint_score)
        if self.body_pixel is not None:
            pixel = _nonfinite(self.body_pixel, self.body_score, self.body_joint_score)
            body = body | pixel
        return body, _nonfinite(self.hand, self.hand_score, self.hand_joint_score)

    def _fail(self, found: str, expected: str, fix: str) -> None:
        raise ClipError(f'clip {self.clip_id!r}', found, expected, fix)

    def _check_label(self, num_classes: int | None) -> None:
        end = 'up' if num_classes is None else f'to {num_classes - 1}'
        if not isinstance(self.label, (int, np.integer)) or isinstance(self.label, bool):
            self._fail(
                f'label {self.label!r}', f'a whole number from 0 {end}', 'number the classes'
            )
        if self.label < 0 or (num_classes is not None and self.label >= num_classes):
            self._fail(
                f'label {self.label}',
                f'a class number from 0 {end}',
                'list all classes, in the order of their numbers counted from 0',
            )

    def _check_video(self) -> None:
        size = self.image_size
        whole = isinstance(size, (tuple, list)) and len(size) == 2
        if not whole or not all(isinstance(n, (int, np.integer)) and 0 <= n < 2**31 for n in size):
            self._fail(f'image_size {size!r}', '(width, height) in pixels', 'use (0, 0) if unknown')
        if not isinstance(self.fps, (int, float, np.number)) or not 0 <= self.fps < np.inf:
            self._fail(f'fps {self.fps!r}', 'frames per second', 'use 0 if unknown')
        units = self.units
        if not isinstance(units, (tuple, list)) or len(units) != 2 or not set(units) <= set(UNITS):
            self._fail(f'units {units!r}', f'two of {UNITS}, for body and hand', "use ('', '')")

    def _check_arrays(self) -> None:
        floats = ['body', 'body_score', 'hand', 'hand_score']
        floats += [] if self.body_pixel is None else ['body_pixel']
        for name in ('body_joint_score', 'hand_joint_score'):
            array = getattr(self, name)
            if array is not None and (not isinstance(array, np.ndarray) or array.dtype.kind != 'f'):
                self._fail(f'{name} of another type', 'an array of floats', 'use .astype(float32)')
        for name in floats:
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype.kind != 'f' or array.itemsize < 4:
                kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                self._fail(
                    f'{name} of type {kind}',
                    'a float32 array',
                    'integers cannot hold a normalised coordinate and float16 rounds pixels to '
                    '0.5 or 1: convert with .astype(np.float32) from the most exact values at '
                    'hand',
                )
        index = self.frame_index
        if not isinstance(index, np.ndarray) or index.dtype.kind not in 'iu':
            kind = index.dtype if isinstance(index, np.ndarray) else type(index).__name__
            self._fail(f'frame_index of type {kind}', 'an int32 array', 'use whole frame numbers')

    def _check_shapes(self, body: SkeletonLayout, hand: SkeletonLayout | None) -> None:
        if self.body.ndim != 4:
            self._fail(
                f'body of shape {self.body.shape}',
                '(persons, frames, joints, channels)',
                'add the missing axes; one person is M = 1',
            )
        m, t, v, c = self.body.shape
        if m == 0 or t == 0:
            self._fail(
                f'{m} persons and {t} frames',
                'at least one of each',
                'leave empty clips out, counted',
            )
        if v != body.num_joints:
            self._fail(
                f'{v} body joints',
                f'{body.num_joints} as layout {body.name!r} has',
                'name the layout of this data, or select its joints',
            )
        given = self.hand.shape if self.hand.ndim == 5 else (m, 2, t, 21, 3)
        hand_joints = given[3] if hand is None else hand.num_joints
        expected = {
            'body_score': (m, t),
            'hand': (m, 2, t, hand_joints, given[4]),
            'hand_score': (m, 2, t),
            'frame_index': (t,),
            'body_pixel': (m, t, v, 2),
            'body_joint_score': (m, t, v),
            'hand_joint_score': (m, 2, t, hand_joints),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                self._fail(
                    f'{name} of shape {array.shape}',
                    f'{shape} for a body of {m} persons and {t} frames',
                    'give all arrays of a clip the same persons and frames',
                )
        if c == 0 or given[4] == 0:
            self._fail('no channels', 'at least one channel', 'keep x and y')
        index = self.frame_index.astype(np.int64)
        if index[0] < 0 or index[-1] >= 2**31 or np.any(np.diff(index) <= 0):
            self._fail(
                'frame_index that does not rise',
                'frame numbers from 0 up, each above the one before',
                'sort the frames and drop repeated ones',
            )

    def _check_scores(self) -> None:
        for name in ('body_score', 'hand_score', 'body_joint_score', 'hand_joint_score'):
            score = getattr(self, name)
            if score is None:
                continue
            bad = ~((score >= 0) & (score <= 1))
            if bad.any():
                self._fail(
                    f'{name} of {score[bad].flat[0]} ({int(bad.sum())} of {score.size} wrong)',
                    'scores in [0, 1], 0 = missing',
                    'divide by the largest possible score; Clip.with_nonfinite_masked() makes NaN '
                    'missing',
                )

    def _check_finite(self) -> None:
        body, hand = self._nonfinite()
        for name, bad in (('body', body), ('hand', hand)):
            if bad.any():
                place = ', '.join(str(i) for i in np.argwhere(bad)[0])
                axes = 'person, frame' if name == 'body' else 'person, side, frame'
                self._fail(
                    f'NaN or infinity in {name} (or a value beyond {MAX_COORDINATE:g}) '
                    f'at ({axes}) = ({place}), '
                    f'{int(bad.sum())} frames in all',
                    'finite coordinates in every visible frame',
                    'set the score of such frames to 0, as Clip.with_nonfinite_masked() does and '
                    'counts',
                )


def _nonfinite(values: np.ndarray, score: np.ndarray, joint_score: np.ndarray | None) -> np.ndarray:
    """Mask of the visible entries (V, C) whose values or score are not finite, of the shape of
    ``score``. Missing joints may have any value.
    """
    visible = score > 0
    if not visible.any():
        return ~np.isfinite(score)
    with np.errstate(over='ignore'):  # values too large for float32 become infinite in the store
        finite = np.abs(np.asarray(values, np.float32)) <= MAX_COORDINATE  # False for NaN
    # Frames are checked one by one only if a value is wrong, since a reduction over two short axes
    # is slow.
    if finite.all():
        finite = True
    elif joint_score is None:
        finite = finite.all(axis=(-2, -1))
    else:
        finite = (finite.all(axis=-1) | (joint_score <= 0)).all(axis=-1)
    return (visible & np.logical_not(finite)) | ~np.isfinite(score)


def empty_hands(
    persons: int, frames: int, joints: int = 21, channels: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Absent hands, (M, 2, T, 21, Ch) and (M, 2, T): read-only zeros that need no memory."""
    hand = np.ndarray((persons, 2, frames, joints, channels), np.float32, _ZERO, strides=(0,) * 5)
    score = np.ndarray((persons, 2, frames), np.float32, _ZERO, strides=(0,) * 3)
    return hand, score


def pipeline_input(
    clip: Clip,
    body_layout: SkeletonLayout,
    hand_layout: SkeletonLayout | None,
    min_score: float = 0.0,
    min_joint_score: float = 0.0,
) -> dict[str, Any]:
    """The input of a pipeline for a clip, see ``BodyHandDataset``.

    Image fractions are converted to one unit (:meth:`Clip.squared`) before any geometric
    computation.

    Args:
        clip: Without NaN or infinity in a visible frame (:meth:`Clip.with_nonfinite_masked`).
        body_layout: Layout of its bodies.
        hand_layout: Layout of its hands; None if no hand is ever visible.
        min_score: A frame is visible if its score is above this.
        min_joint_score: A joint is visible if its score is above this. Other joints of a visible
            frame are filled, see ``joints.with_joints_filled``.
    """
    clip = with_joints_filled(clip, body_layout, hand_layout, min_joint_score).squared()
    return {
        'clip_id': clip.clip_id,
        'label': clip.label,
        'total_frames': clip.num_frames,
        'body': clip.body,
        'body_visible': clip.body_score > min_score,
        'hand': clip.hand,
        'hand_visible': clip.hand_score > min_score,
        'body_layout': body_layout,
        'hand_layout': hand_layout,
        'frame_index': clip.frame_index,
        'video': clip.video,
        'image_size': clip.image_size,
        'fps': clip.fps,
        'body_pixel': clip.body_pixel,
        **{
            f'{part}_joint_visible': score > min_joint_score
            for part in ('body', 'hand')
            if (score := getattr(clip, f'{part}_joint_score')) is not None
        },
    }


_ZERO = bytes(4)
