"""Reads annotation pickles of MMAction2 and pyskl.

The form: ``dict(split={name: [frame_dir, ...]}, annotations=[dict, ...])`` or only the list, each
annotation with ``frame_dir`` (or ``filename``), ``label``, ``total_frames``, ``keypoint`` (M, T, V,
C), perhaps ``keypoint_score`` (M, T, V), ``img_shape`` and ``original_shape`` (height, width).

A pickle can run any code, so they are read by :mod:`bharnet_mm.io.safe_pickle`.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable

import numpy as np

from ...errors import SourceError
from ...io.content import content_of
from ...io.guard import reading, reads
from ...io.names import same_form
from ...io.safe_pickle import load_pickle
from ...io.text import read_lines
from ...layouts import SkeletonLayout
from ..clip import Clip, empty_hands
from ..ingest import Converted, Report
from ..joints import joint_scores
from ..protocols import NTU_CLASSES, ntu_fields, nucla_fields
from .annotation_export import export_annotations  # noqa: F401  the way back, for others
from .coco_wholebody import split_wholebody
from .keypoint_form import NUM_WHOLEBODY, layout_of, shape_of  # noqa: F401  layout_of is for others


@reads('annotations as MMAction2 and pyskl write them')
def load_annotations(path: str | os.PathLike) -> tuple[list[dict], dict[str, list[str]]]:
    """Loads a pickle safely; returns its annotations and splits (empty where it has none).

    Raises:
        SourceError: The file is not a pickle, has another form, or asks for a class that is not
            allowed.
    """
    what = content_of(path)
    if what not in ('', 'a pickle'):
        raise SourceError(
            str(path),
            found=what,
            expected='a pickle of annotations',
            fix='docs/data.md says which file is read by which converter',
        )
    data = load_pickle(path)
    splits: dict = {}
    if isinstance(data, dict):
        data, splits = data.get('annotations'), data.get('split') or {}
    well_formed = (
        isinstance(data, list)
        and len(data) > 0
        and all(isinstance(annotation, dict) for annotation in data)
        and isinstance(splits, dict)
    )
    if not well_formed:
        raise SourceError(
            str(path),
            found=f'another structure ({_structure(data)})',
            expected='dict(split=dict, annotations=[dict, ...]) or a list of dicts',
            fix="save it in the form of MMAction2's PoseDataset",
        )
    return data, {str(name): [same_form(str(i)) for i in ids] for name, ids in splits.items()}


#: Upper limit of the number of classes; no data set of actions has so many.
MAX_CLASSES = 100_000


def _structure(data: object) -> str:
    """A description of the data in place of a list of annotations."""
    if isinstance(data, (list, tuple, dict)) and not data:
        return f'an empty {type(data).__name__}: no annotation'
    if isinstance(data, list):
        return f'a list of {type(data[0]).__name__}'
    return 'no list of annotations' if data is None else f'a {type(data).__name__}'


def annotation_id(annotation: dict) -> str:
    """``frame_dir``, or ``filename`` as Kinetics annotations have it."""
    return same_form(str(annotation.get('frame_dir', annotation.get('filename', ''))))


def split_rules(
    splits: dict[str, list[str]], present: Iterable[str], report: Report
) -> dict[str, dict]:
    """Splits as rules on the clip id; a ``*_val`` is also stored as ``*_test``.

    Ids without a clip are left out of the rules and counted in the report's notes.
    """
    present = set(present)
    rules = {}
    for name, ids in splits.items():
        unique = list(dict.fromkeys(ids))
        there = [i for i in unique if i in present]
        if len(unique) < len(ids):
            report.notes.append(f'split {name}: {len(ids) - len(unique)} ids twice')
        if len(there) < len(unique):
            report.notes.append(f'split {name}: {len(unique) - len(there)} ids without a clip')
        if not there:
            report.notes.append(f'split {name}: left out, it has no clip')
            continue
        rules[name] = {'clip_id': there}
        test = re.sub(r'(^|_)val$', r'\1test', name)
        if test not in splits:
            rules[test] = rules[name]
    return rules


def class_names(annotations: list[dict], path: str | os.PathLike | None = None) -> list[str]:
    """Class names from a file, one for each line; else those of NTU RGB+D by its clip ids; else
    numbers.

    Raises:
        SourceError: A label is no number, or beyond the names of the file.
    """
    told = 'a class number from 0 in each', 'number the classes'
    with reading('annotations', *told):
        highest = max(int(a['label']) for a in annotations if a.get('label') is not None)
    if highest >= MAX_CLASSES:  # all numbers up to it would become names
        raise SourceError(
            'annotations', f'the label {highest}', f'less than {MAX_CLASSES}', told[1]
        )
    if path is not None:
        names = read_lines(path, expected='names of classes, one a line')
        if highest >= len(names):
            raise SourceError(
                str(path),
                found=f'{len(names)} names and labels up to {highest}',
                expected='a name for each class, in the order of the labels',
                fix='complete the list',
            )
        return names
    if highest < 120 and all(_is_ntu(annotation_id(a)) for a in annotations):
        return list(NTU_CLASSES[: 60 if highest < 60 else 120])
    return [str(n) for n in range(highest + 1)]


class AnnotationReader:
    """Turns annotations into clips of one layout.

    Whole bodies (133 keypoints) become a body of 17 joints and two hands. The score of a person or
    hand in a frame is the mean of its keypoints' scores; without scores it is 1 if any coordinate
    is not 0. A joint is missing if its score or all of its coordinates are 0, or if one is not
    finite. For keypoints without depth, the pixel positions are kept too.

    Args:
        layout (SkeletonLayout): Layout of the keypoints.
        channels (str): Channels of the keypoints, see ``keypoint_form.CHANNELS``; 2 and 3 are xy
            and xyz. A confidence (c) is used as ``keypoint_score`` if the annotation has none.
        unit (str): ``'pixel'``, ``'fraction'`` of the image, or ``''``. Defaults to ``'pixel'``
            without depth, else ``''``.
    """

    def __init__(
        self, layout: SkeletonLayout, channels: str | int, unit: str | None = None
    ) -> None:
        self.layout, self.channels = layout, {2: 'xy', 3: 'xyz'}.get(channels, channels)
        self.flat = 'z' not in self.channels
        self.unit = ('pixel' if self.flat else '') if unit is None else unit
        self.whole = layout.num_joints == NUM_WHOLEBODY

    def __call__(self, annotation: dict) -> Converted:
        """The reader for :func:`convert`."""
        try:
            return self._read(annotation)
        except SourceError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise SourceError(
                f'annotation {annotation_id(annotation)!r}',
                found=f'{error}',
                expected='a number as label, (height, width) as img_shape, arrays of numbers',
                fix='correct the annotation or leave it out',
            ) from None

    def _read(self, annotation: dict) -> Converted:
        clip_id = annotation_id(annotation)
        converted = Converted(clip_id)
        keypoint, score = self._arrays(annotation, clip_id, converted.repaired)
        if self.whole:
            body, body_score, hand, hand_score = split_wholebody(keypoint, score, clip_id)
            given = score is not None
            hand_score, hand_joints = _scores(hand, hand_score, given, converted.repaired, 'hand')
        else:
            body, body_score, given = keypoint, score, score is not None
            if body_score is None:
                body_score = (body != 0).any(axis=(-2, -1))[..., None].astype(np.float32)
                body_score = np.broadcast_to(body_score, body.shape[:3])
            hand, hand_score = empty_hands(*body.shape[:2], channels=1)
            hand_joints = None
        body_score, body_joints = _scores(body, body_score, given, converted.repaired, 'body')
        if not body_score.any() and not hand_score.any():
            converted.refused.append((clip_id, 'nobody visible in any frame', ''))
            return converted
        order = _by_motion(body, body_score)
        size = annotation.get('img_shape', annotation.get('original_shape'))
        height, width = (0, 0) if size is None else size
        fields = _name_fields(clip_id)
        pixel = body[order] if self.flat else None
        if self.unit == 'fraction':
            pixel = pixel * np.float32((width, height)) if width and height else None
        clip = Clip(
            clip_id=clip_id,
            label=int(annotation['label']),
            body=body[order],
            body_score=body_score[order],
            hand=hand[order],
            hand_score=hand_score[order],
            frame_index=np.arange(body.shape[1], dtype=np.int32),
            body_pixel=pixel,
            image_size=(int(width), int(height)),
            source='pickle',
            body_joint_score=None if body_joints is None else body_joints[order],
            hand_joint_score=None if hand_joints is None else hand_joints[order],
            units=(self.unit, self.unit),
            **fields,
        )
        converted.clips.append(clip)
        return converted

    def _arrays(
        self, annotation: dict, clip_id: str, repaired: Counter
    ) -> tuple[np.ndarray, np.ndarray | None]:
        def refuse(found: str, expected: str, fix: str) -> None:
            raise SourceError(f'annotation {clip_id!r}', found=found, expected=expected, fix=fix)

        for key in ('keypoint', 'label'):
            if annotation.get(key) is None:
                refuse(f'no {key}', f'a {key}', 'complete the annotation or leave it out')
        shape = shape_of(annotation['keypoint'])
        if not isinstance(shape, tuple) or len(shape) != 4:
            refuse(
                f'keypoints of shape {shape}',
                'numbers of shape (M, T, V, C): persons, frames, joints, channels',
                'correct the array; keypoint[None] adds the axis of persons',
            )
        keypoint, joints = np.asarray(annotation['keypoint']), self.layout.num_joints
        if shape[2] != joints or shape[3] < len(self.channels):
            refuse(
                f'{shape[2]} joints of {shape[3]} channels',
                f'{joints} of {len(self.channels)} ({self.channels}), as in the other annotations',
                'convert clips of different kinds into different stores',
            )
        frames = annotation.get('total_frames', keypoint.shape[1])
        if frames != keypoint.shape[1]:
            refuse(
                f'total_frames {frames} and keypoints for {keypoint.shape[1]} frames',
                'the same number',
                'correct total_frames',
            )
        if keypoint.dtype.kind != 'f':
            repaired['clip of integer coordinates: made float32'] += 1
        elif keypoint.dtype == np.float16 and self.unit == 'pixel':
            repaired['clip of float16 pixels: already rounded to 0.5 or 1 pixel'] += 1
        count = len(self.channels.removesuffix('c'))
        score = annotation.get('keypoint_score')
        if score is None and self.channels.endswith('c'):
            score = keypoint[..., len(self.channels) - 1]
        if shape[3] > len(self.channels):
            repaired['clip with channels that --channels leaves out: dropped'] += 1
        keypoint = keypoint[..., :count]
        score = None if score is None else np.asarray(score, dtype=np.float32)
        if score is not None and score.shape != keypoint.shape[:3]:
            refuse(
                f'keypoint_score of shape {score.shape}',
                f'{keypoint.shape[:3]}',
                'give one score for each keypoint',
            )
        return keypoint.astype(np.float32), score


def _name_fields(clip_id: str) -> dict[str, str]:
    """Subject, camera and setup, if the name is one of NTU RGB+D or Northwestern-UCLA."""
    for parse in (ntu_fields, nucla_fields):
        try:
            fields = parse(clip_id)
        except SourceError:
            continue
        return {k: v for k, v in fields.items() if k in ('subject', 'camera', 'setup')}
    return {}


def _is_ntu(clip_id: str) -> bool:
    return 'setup' in _name_fields(clip_id)


def _scores(
    part: np.ndarray, score: np.ndarray, given: bool, repaired: Counter, name: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores of frames and of joints.

    Args:
        part: (..., T, V, C).
        score: (..., T, V) of its joints.
        given: Whether the source has scores.
        repaired: Counter of repairs, which is changed.
        name: Name of the part for messages.

    Returns:
        (..., T) in [0, 1], 0 if no joint is usable, and (..., T, V), see ``joint_scores``.
    """
    finite = np.isfinite(part).all(axis=-1)
    usable = finite & (part != 0).any(axis=-1) & (score > 0)
    score = np.nan_to_num(score, nan=0.0).astype(np.float32)
    frame = score.mean(axis=-1)
    lost = (frame > 0) & ~finite.any(axis=-1)
    if lost.any():
        what = f'{name} in a frame without a finite coordinate: missing'
        repaired[what] += int(lost.sum())
    if (frame > 1).any():
        repaired[f'{name} score above 1: made 1'] += int((frame > 1).sum())
    frame = np.where(usable.any(axis=-1), np.clip(frame, 0, 1), 0).astype(np.float32)
    return frame, joint_scores(part, frame > 0, score if given else None)


def _by_motion(body: np.ndarray, score: np.ndarray) -> list[int]:
    """Persons in the order of their motion (variance over their visible frames), then of their
    score.
    """
    keys = []
    for person, visible in zip(body, score > 0, strict=True):
        points = person[visible].reshape(-1, person.shape[-1])
        points = points[np.isfinite(points).all(axis=1)]
        keys.append(float(points.var(axis=0).sum()) if len(points) else -1.0)
    return sorted(range(len(body)), key=lambda m: (-keys[m], -float(score[m].sum())))
