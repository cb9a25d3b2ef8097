"""Clip stores as annotation pickles that MMAction2's ``PoseDataset`` reads."""

import os
import pickle
import re
from dataclasses import replace

import numpy as np

from ...errors import ConfigError
from ...io.atomic import atomic_write
from ..clip import Clip
from ..ingest import Report
from ..store import ClipStore


def export_annotations(
    store: ClipStore, path: str | os.PathLike, part: str = 'body', report: Report | None = None
) -> None:
    """Writes a store as a pickle that MMAction2's ``PoseDataset`` reads.

    Image fractions become pixels. Missing persons and hands are zeros. Two-channel keypoints get a
    ``keypoint_score``. With three channels there is none, because MMAction2's ``FormatGCNInput``
    would append it as a fourth channel.

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
        except ConfigError as error:  # for example a rule names a subject that has no clip
            report.notes.append(f'left out: {error}')
            continue
        stock = re.sub(r'(^|_)test$', r'\1val', name)
        if stock not in store.meta['splits']:
            splits[stock] = splits[name]
    with atomic_write(path, 'wb') as stream:
        pickle.dump(dict(split=splits, annotations=annotations), stream, protocol=4)


def _in_pixels(clip: Clip) -> Clip:
    """The clip with image fractions converted to pixels, as MMAction2's transforms expect them."""
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
