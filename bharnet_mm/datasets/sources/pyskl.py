"""MMAction2 / pyskl annotation pickles, in and out.

The form: ``dict(split={name: [frame_dir, ...]}, annotations=[dict, ...])`` or only the list, each
annotation with ``frame_dir`` (or ``filename``), ``label``, ``total_frames``, ``keypoint`` (M, T, V,
C), perhaps ``keypoint_score`` (M, T, V), ``img_shape`` and ``original_shape`` (height, width).

A pickle can run any code, so they are read by :mod:`bharnet_mm.io.safe_pickle`.
"""

import os
import pickle
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import ConfigError, SourceError
from ...io.atomic import atomic_write
from ...io.guard import reading, reads
from ...io.safe_pickle import load_pickle
from ...layouts import LAYOUTS, SkeletonLayout, get_layout
from ..clip import Clip, empty_hands
from ..ingest import Converted, Report
from ..protocols import NTU_CLASSES, ntu_fields, nucla_fields
from ..store import ClipStore
from .coco_wholebody import NUM_KEYPOINTS as NUM_WHOLEBODY
from .coco_wholebody import split_wholebody

#: Number of joints to layout; anything else needs a layout by name.
LAYOUT_BY_JOINTS = {17: 'coco', 20: 'kinect_v1', 25: 'kinect_v2', 33: 'mediapipe_pose'}


@reads('annotations as MMAction2 and pyskl write them')
def load_annotations(path: str | os.PathLike) -> tuple[list[dict], dict[str, list[str]]]:
    """Loads a pickle safely; returns its annotations and splits (empty where it has none).

    Raises:
        SourceError: Not a pickle, not of this form, or asking for a class that is not admitted.
    """
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
            found='another structure',
            expected='dict(split=dict, annotations=[dict, ...]) or a list of dicts',
            fix="save it in the form of MMAction2's PoseDataset",
        )
    return data, {str(name): [str(i) for i in ids] for name, ids in splits.items()}


#: More classes than any data set of actions has.
MAX_CLASSES = 100_000


def annotation_id(annotation: dict) -> str:
    """``frame_dir``, or ``filename`` as Kinetics annotations have it."""
    return str(annotation.get('frame_dir', annotation.get('filename', '')))


def split_rules(
    splits: dict[str, list[str]], present: Iterable[str], report: Report
) -> dict[str, dict]:
    """Splits as rules on the clip id; a ``*_val`` is entered as ``*_test`` too.

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


def layout_of(annotations: list[dict], layout: str | None = None) -> SkeletonLayout:
    """The layout by name, or by the number of joints of the first annotation that has keypoints.

    Raises:
        SourceError: No annotation has keypoints.
        ConfigError: The number of joints says nothing, or is not that of the layout.
    """
    shapes = [np.shape(a['keypoint']) for a in annotations if 'keypoint' in a]
    if not shapes or len(shapes[0]) != 4:
        raise SourceError(
            'annotations',
            found='no keypoint of shape (M, T, V, C)',
            expected='a keypoint array in each annotation',
            fix='keypoints kept in separate files have to be put into the annotations first',
        )
    joints = shapes[0][2]
    if layout is None and joints == NUM_WHOLEBODY:
        return get_layout('coco_wholebody')
    if layout is None and joints in LAYOUT_BY_JOINTS:
        return get_layout(LAYOUT_BY_JOINTS[joints])
    if layout is None or get_layout(layout).num_joints != joints:
        raise ConfigError(
            '--layout',
            found=f'{layout} for {joints} joints',
            expected=f'a layout with {joints} joints, one of {sorted(LAYOUTS)}',
            fix='name the layout of this data',
        )
    return get_layout(layout)


def class_names(annotations: list[dict], path: str | os.PathLike | None = None) -> list[str]:
    """Class names from a file, one a line; else those of NTU RGB+D by its clip ids; else numbers.

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
        names = [line.strip() for line in Path(path).read_text().splitlines() if line.strip()]
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
    hand in a frame is the mean of its keypoints' scores; without scores it is 1 where any
    coordinate is not 0. Two-channel keypoints are pixel positions and are kept as such too.

    Args:
        layout (SkeletonLayout): Of the keypoints.
        channels (int): 2 or 3.
    """

    def __init__(self, layout: SkeletonLayout, channels: int) -> None:
        self.layout, self.channels = layout, channels
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
            hand_score = _frame_score(hand, hand_score, converted.repaired, 'hand')
        else:
            body, body_score = keypoint, score
            if body_score is None:
                body_score = (body != 0).any(axis=(-2, -1))[..., None].astype(np.float32)
            hand, hand_score = empty_hands(*body.shape[:2], channels=1)
        body_score = _frame_score(body, body_score, converted.repaired, 'body')
        if not body_score.any() and not hand_score.any():
            converted.refused.append((clip_id, 'nobody visible in any frame', ''))
            return converted
        order = _by_motion(body, body_score)
        size = annotation.get('img_shape', annotation.get('original_shape'))
        height, width = (0, 0) if size is None else size
        fields = _name_fields(clip_id)
        clip = Clip(
            clip_id=clip_id,
            label=int(annotation['label']),
            body=body[order],
            body_score=body_score[order],
            hand=hand[order],
            hand_score=hand_score[order],
            frame_index=np.arange(body.shape[1], dtype=np.int32),
            body_pixel=body[order] if self.channels == 2 else None,
            image_size=(int(width), int(height)),
            source='pickle',
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
        keypoint = np.asarray(annotation['keypoint'])
        if keypoint.dtype.kind not in 'fiu' or keypoint.ndim != 4:
            refuse(
                f'keypoints of shape {keypoint.shape}, type {keypoint.dtype}',
                'numbers of shape (M, T, V, C)',
                'correct the array',
            )
        if keypoint.shape[2:] != (self.layout.num_joints, self.channels):
            refuse(
                f'{keypoint.shape[2]} joints of {keypoint.shape[3]} channels',
                f'{self.layout.num_joints} of {self.channels}, as the first annotation',
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
        elif keypoint.dtype == np.float16 and self.channels == 2:
            repaired['clip of float16 pixels: already rounded to 0.5 or 1 pixel'] += 1
        score = annotation.get('keypoint_score')
        score = None if score is None else np.asarray(score, dtype=np.float32)
        if score is not None and score.shape != keypoint.shape[:3]:
            refuse(
                f'keypoint_score of shape {score.shape}',
                f'{keypoint.shape[:3]}',
                'give one score for each keypoint',
            )
        return keypoint.astype(np.float32), score


def _name_fields(clip_id: str) -> dict[str, str]:
    """Subject, camera and setup, where the name is one of NTU RGB+D or Northwestern-UCLA."""
    for parse in (ntu_fields, nucla_fields):
        try:
            fields = parse(clip_id)
        except SourceError:
            continue
        return {k: v for k, v in fields.items() if k in ('subject', 'camera', 'setup')}
    return {}


def _is_ntu(clip_id: str) -> bool:
    return 'setup' in _name_fields(clip_id)


def _frame_score(part: np.ndarray, score: np.ndarray, repaired: Counter, name: str) -> np.ndarray:
    """``part (..., T, V, C)``, ``score (..., T, V)`` to (..., T) in [0, 1], 0 where unusable."""
    score = np.nan_to_num(score.mean(axis=-1), nan=0.0).astype(np.float32)
    bad = (score > 0) & ~np.isfinite(part).all(axis=(-2, -1))
    if bad.any():
        repaired[f'{name} in a frame with a coordinate that is not finite: missing'] += int(
            bad.sum()
        )
    if (score > 1).any():
        repaired[f'{name} score above 1: made 1'] += int((score > 1).sum())
    empty = ~(part != 0).any(axis=(-2, -1))
    return np.where(bad | empty, 0, np.clip(score, 0, 1)).astype(np.float32)


def _by_motion(body: np.ndarray, score: np.ndarray) -> list[int]:
    """Persons by falling motion (variance over their visible frames), then by score."""
    keys = []
    for person, visible in zip(body, score > 0, strict=True):
        points = person[visible].reshape(-1, person.shape[-1])
        keys.append(float(points.var(axis=0).sum()) if len(points) else -1.0)
    return sorted(range(len(body)), key=lambda m: (-keys[m], -float(score[m].sum())))


def export_annotations(
    store: ClipStore, path: str | os.PathLike, part: str = 'body', report: Report | None = None
) -> None:
    """Writes a store as a pickle that MMAction2's ``PoseDataset`` reads.

    Picture fractions become pixels. Missing persons and hands are zeros. Two-channel keypoints get
    a ``keypoint_score``; with three channels there is none, because stock ``FormatGCNInput`` would
    append it as a fourth.

    Args:
        store (ClipStore): All its clips and splits are written; a ``*_test`` split also as
            ``*_val``, the name that stock configs use.
        path (str): A ``.pkl`` file, replaced when complete.
        part (str): ``body``, or ``unified``: body, left hand, right hand along the joint axis, the
            order of ``unified_layout``. Defaults to ``body``.
        report (Report, optional): Counts the clips.

    Raises:
        ConfigError: ``unified`` without hands, or with hands of other channels than the body.
    """
    if not str(path).endswith('.pkl'):
        raise ConfigError(
            str(path),
            found='another ending',
            expected='.pkl, as PoseDataset wants it',
            fix='rename it',
        )
    if part == 'unified':
        _check_unified(store)
    report = Report('clips') if report is None else report
    annotations = []
    for i in range(len(store)):
        clip = _in_pixels(store[i])
        keypoint = _blank(clip.body, clip.body_score)
        score = np.broadcast_to(clip.body_score[..., None], keypoint.shape[:3])
        if part == 'unified':
            hands = _blank(clip.hand, clip.hand_score)
            hand_score = np.broadcast_to(clip.hand_score[..., None], hands.shape[:4])
            keypoint = np.concatenate([keypoint, hands[:, 0], hands[:, 1]], axis=2)
            score = np.concatenate([score, hand_score[:, 0], hand_score[:, 1]], axis=2)
        shape = (int(clip.image_size[1]), int(clip.image_size[0]))
        annotation = dict(
            frame_dir=str(clip.clip_id),
            label=int(clip.label),
            total_frames=int(keypoint.shape[1]),
            img_shape=shape,
            original_shape=shape,
            keypoint=keypoint,
        )
        if keypoint.shape[-1] == 2:
            annotation['keypoint_score'] = np.ascontiguousarray(score)
        annotations.append(annotation)
        report.found = report.read = report.kept = i + 1
        report.frames += keypoint.shape[1]
    splits = {}
    ids = store.clip_ids
    for name in store.meta['splits']:
        try:
            splits[name] = [str(ids[i]) for i in store.select(name)]
        except ConfigError as error:  # a rule that names e.g. a subject of whom there is no clip
            report.notes.append(f'left out: {error}')
            continue
        stock = re.sub(r'(^|_)test$', r'\1val', name)
        if stock not in store.meta['splits']:
            splits[stock] = splits[name]
    with atomic_write(path, 'wb') as stream:
        pickle.dump(dict(split=splits, annotations=annotations), stream, protocol=4)


def _in_pixels(clip: Clip) -> Clip:
    """Picture fractions as pixels, which is what stock transforms take them for."""
    unit = np.float32([*clip.image_size, clip.image_size[0]])
    parts = zip(('body', 'hand'), clip.units, strict=True)
    parts = [part for part, of in parts if of == 'fraction' and unit.all()]
    arrays = {part: getattr(clip, part) for part in parts}
    return replace(clip, **{part: x * unit[: x.shape[-1]] for part, x in arrays.items()})


def _blank(part: np.ndarray, score: np.ndarray) -> np.ndarray:
    return np.where((score > 0)[..., None, None], part, 0).astype(np.float32)


def _check_unified(store: ClipStore) -> None:
    channels = store.meta['channels']
    if store.meta['hand_layout'] is None or channels['body'] != channels['hand']:
        have = 'no hands' if store.meta['hand_layout'] is None else f'channels {channels}'
        raise ConfigError(
            '--part unified',
            found=have,
            expected='a body and hands with the same channels',
            fix='export --part body, or a store whose hands have the same channels as the body',
        )
