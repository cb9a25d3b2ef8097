"""Reads all clips once and keeps a row of numbers for each, on which all checks are based.

A row takes about a hundred bytes, so memory does not depend on the length of clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ...datasets.clip import Clip
from ...datasets.coordinates import square
from ...datasets.extraction.estimators import MAX_KEPT
from ...errors import BHaRNetError
from ...layouts import SkeletonLayout
from .collection import Collection, problem
from .wrists import wrists_elsewhere

#: A joint is far if it is so many times the usual distance from the middle of the data.
FAR, ABSURD = 10.0, 50.0
#: Bounds of plausible image fractions of bodies (whose legs may be guessed) and hands.
OUTSIDE = {'body': (-3.0, 4.0), 'hand': (-1.0, 2.0)}
#: Sides are compared only if the wrists are at least so far apart, in units of the layout.
WRISTS_APART = 0.5

# Counts of fields that begin with body or hand are summed over persons and hands.
COUNTS = ('nonfinite', 'far', 'absurd', 'outside', 'blank', 'origin', 'pairs', 'frozen')
FACTS = np.dtype(
    [
        ('damaged', '?'),  # the checksum fails
        ('unread', '?'),  # it cannot be converted to a clip
        ('bad_score', '?'),
        ('bad_order', '?'),
        ('joints', '<i4'),  # missing joints of visible bodies and hands
        ('unsized', '?'),  # no image size
        ('persons', '<i4'),
        ('frames', '<i4'),
        ('first', '<i4'),  # frame numbers in the source
        ('last', '<i4'),
        ('visible', '<i4'),  # frames in which somebody is visible
        ('left', '<i4'),  # frames in which a left hand is visible
        ('right', '<i4'),
        ('hands', '<i4'),  # either
        *((f'{part}_{name}', '<i4') for part in ('body', 'hand') for name in COUNTS),
        ('wrists', '<i4'),  # hands that can be compared with the body's wrists
        ('crossed', '<i4'),  # those nearer to the other wrist
        ('placed', '<i4'),  # frames in which a hand can be compared with a wrist in the image
        ('elsewhere', '<i4'),  # those in which one lies elsewhere
        ('body_key', '<f4'),  # sums of the coordinates: equal for equal clips
        ('hand_key', '<f4'),
    ]
)


@dataclass(frozen=True)
class Usual:
    """Usual place of the coordinates of bodies or hands.

    Args:
        center: Median per channel, (C,).
        scale: Median distance from it.
        outside: Bounds of x and y where they are image fractions, else None.
    """

    center: np.ndarray
    scale: float
    outside: tuple[float, float] | None = None


@dataclass(frozen=True)
class Reference:
    """Common facts of the clips of a collection, from some of them.

    Args:
        body: Usual place of body joints.
        hand: Usual place of hand joints.
        plane: Coordinates of the body in which its hands are given: ``body``, ``pixel``,
            ``fraction`` of the image, or '' for none of them.
    """

    body: Usual
    hand: Usual
    plane: str


def find_reference(collection: Collection, clips: int = 256, frames: int = 8) -> Reference:
    """Robust statistics over evenly spread frames of evenly spread clips."""
    points: dict[str, list[np.ndarray]] = {'body': [], 'hand': []}
    ratios: dict[str, list[np.ndarray]] = {'body': [], 'pixel': [], 'fraction': []}
    numbers = np.linspace(0, len(collection) - 1, min(clips, len(collection)))
    for i in np.unique(numbers.round().astype(int)).tolist():
        try:
            clip = collection.clip(i)
        except BHaRNetError:
            continue  # counted in the main pass
        some = np.unique(np.linspace(0, clip.num_frames - 1, frames).round().astype(int))
        points['body'].append(clip.body[:, some][clip.body_score[:, some] > 0])
        points['hand'].append(clip.hand[:, :, some][clip.hand_score[:, :, some] > 0])
        for plane in ratios:
            found = _wrist_distances(clip, plane, collection.body_layout, collection.hand_layout)
            if found is not None:
                own, other, _, valid = found
                ratios[plane].append(np.minimum(own, other)[valid])
    medians = {}
    for plane, values in ratios.items():
        values = np.concatenate(values) if values else np.empty(0)
        medians[plane] = float(np.median(values)) if values.size else math.inf
    best = min(medians, key=medians.__getitem__)
    return Reference(
        _usual(points['body'], OUTSIDE['body']),
        _usual(points['hand'], OUTSIDE['hand']),
        best if medians[best] < 0.4 else '',
    )


def gather(
    collection: Collection,
    reference: Reference,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> tuple[np.ndarray, dict[str, list[int]]]:
    """Reads every clip once.

    Args:
        collection: The clips.
        reference: See ``find_reference``.
        progress: Wraps the numbers of the clips, to show how far it is.

    Returns:
        Rows of ``FACTS``, (n,), and the numbers of the clips that cannot be read, by reason.
    """
    facts = np.zeros(len(collection), FACTS)
    unread: dict[str, list[int]] = {}
    for i in progress(range(len(collection))):
        try:
            clip = collection.clip(i)
        except BHaRNetError as error:
            facts[i]['unread'] = True
            unread.setdefault(problem(error), []).append(i)
            continue
        values = measure(clip, reference, collection.body_layout, collection.hand_layout)
        values['damaged'] = not collection.intact(i, clip)
        facts[i] = tuple(values.get(name, 0) for name in FACTS.names)
    return facts, unread


def measure(
    clip: Clip,
    reference: Reference,
    body_layout: SkeletonLayout,
    hand_layout: SkeletonLayout | None,
) -> dict[str, float]:
    """The facts of one clip."""
    body_visible, hand_visible = clip.body_score > 0, clip.hand_score > 0
    index = clip.frame_index
    values = {
        'persons': clip.num_persons,
        'frames': clip.num_frames,
        'first': index[0] if len(index) else 0,
        'last': index[-1] if len(index) else 0,
        'visible': np.count_nonzero(body_visible.any(axis=0)),
        'bad_order': bool(len(index) and index[0] < 0) or bool((index[1:] <= index[:-1]).any()),
        'joints': clip.num_missing_joints,
        'unsized': not all(clip.image_size),
        'bad_score': _bad_scores(clip.body_score) or _bad_scores(clip.hand_score),
    }
    _measure_part(values, 'body', clip.body, body_visible, reference.body)
    if hand_layout is None:
        return values
    either = hand_visible.any(axis=0)
    values['left'], values['right'] = np.count_nonzero(either, axis=1)
    values['hands'] = np.count_nonzero(either.any(axis=0))
    _measure_part(values, 'hand', clip.hand, hand_visible, reference.hand)
    compared, elsewhere = wrists_elsewhere(clip, body_layout)
    values['placed'] = np.count_nonzero(compared.any(axis=(0, 1)))
    values['elsewhere'] = np.count_nonzero(elsewhere.any(axis=(0, 1)))
    if reference.plane and values['hands']:
        found = _wrist_distances(clip, reference.plane, body_layout, hand_layout)
        if found is not None:
            own, other, apart, valid = found
            valid &= apart > WRISTS_APART
            values['wrists'] = np.count_nonzero(valid)
            values['crossed'] = np.count_nonzero(valid & (other < own))
    return values


def _measure_part(
    facts: dict[str, float], part: str, values: np.ndarray, visible: np.ndarray, usual: Usual
) -> None:
    """Facts of bodies (M, T, V, C) or hands (M, 2, T, V, C); visible without V and C.

    The extremes of a whole array are checked first. Only if these are suspicious are the frames
    checked.
    """
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        # Missing frames are checked too, since other software may not ignore them.
        bad = ~np.isfinite(values).all(axis=(-2, -1))
        facts[f'{part}_nonfinite'] = np.count_nonzero(bad)
        visible, values = visible & ~bad, np.where(bad[..., None, None], np.float32(0), values)
        low, high = float(values.min()), float(values.max())
    if not visible.any():
        return
    facts[f'{part}_key'] = values.sum()
    if max(-low, high) > FAR * usual.scale - np.abs(usual.center).max():
        reach = np.abs(values[visible] - usual.center).max(axis=(-2, -1)) / usual.scale
        facts[f'{part}_absurd'] = np.count_nonzero(reach > ABSURD)
        facts[f'{part}_far'] = np.count_nonzero(reach > FAR) - facts[f'{part}_absurd']
    if usual.outside and (low < usual.outside[0] or high > usual.outside[1]):
        plane = values[visible][..., :2]
        beyond = (plane < usual.outside[0]) | (plane > usual.outside[1])
        facts[f'{part}_outside'] = np.count_nonzero(beyond.any(axis=(-2, -1)))
    if ((values[..., 0] == 0) & visible[..., None]).any():
        zeros = (values[visible] == 0).all(axis=-1).sum(axis=-1)
        facts[f'{part}_blank'] = np.count_nonzero(zeros == values.shape[-2])
        # One joint at the origin may be the centre of the coordinates.
        facts[f'{part}_origin'] = np.count_nonzero(zeros > 1) - facts[f'{part}_blank']
    both = visible[..., 1:] & visible[..., :-1]
    facts[f'{part}_pairs'] = np.count_nonzero(both)
    last = values[..., -1, 0]
    same = both & (last[..., 1:] == last[..., :-1])
    if same.any():
        equal = values[..., 1:, :, :][same] == values[..., :-1, :, :][same]
        same[same] = equal.all(axis=(-2, -1))
        facts[f'{part}_frozen'] = _in_long_runs(same, MAX_KEPT if part == 'hand' else 0)


def _in_long_runs(same: np.ndarray, longest: int) -> int:
    """How many are True along the last axis, in runs of more than ``longest``."""
    if same.shape[-1] <= longest:
        return 0
    whole = sliding_window_view(same, longest + 1, axis=-1).all(axis=-1)
    long = np.zeros_like(same)
    for start in range(longest + 1):
        long[..., start : start + whole.shape[-1]] |= whole
    return np.count_nonzero(long)


def _bad_scores(score: np.ndarray) -> bool:
    return bool(score.size) and not (score.min() >= 0 and score.max() <= 1)


def _usual(points: list[np.ndarray], outside: tuple[float, float]) -> Usual:
    joints = [part.reshape(-1, part.shape[-1]) for part in points if part.size]
    if not joints:
        return Usual(np.zeros(1, np.float32), math.inf)
    values = np.concatenate(joints).astype(np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        return Usual(np.zeros(1, np.float32), math.inf)
    center = np.median(values, axis=0)
    scale = float(np.median(np.linalg.norm(values - center, axis=1))) or 1.0
    low, middle, high = np.quantile(values[:, :2], (0.05, 0.5, 0.95), axis=0)
    # In metres about half of the values are negative, pixels are far above 1, and guessed legs
    # reach 3.
    fractions = (low > -0.1).all() and (middle < 1.1).all() and (high < 3.0).all()
    return Usual(center.astype(np.float32), scale, outside if fractions else None)


def _wrist_distances(
    clip: Clip, plane: str, body: SkeletonLayout, hand: SkeletonLayout | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Hands' wrists against the body's, in x and y and in units of the body.

    Returns:
        Distance to the wrist of the same side and of the other one, (M, 2, T), how far the body's
        wrists are apart, (M, 1, T), and where all of these are visible, (M, 2, T); None if
        there is no such plane.
    """
    if hand is None or not {'left_wrist', 'right_wrist'} <= set(body.parts):
        return None
    joints = [_wrist(body, 'left'), _wrist(body, 'right'), *body.scale_index]
    hands = clip.hand
    if plane == 'body':
        clip = clip.squared()
        points, hands = clip.body[:, :, joints, :2], clip.hand
    elif clip.body_pixel is None or (plane == 'fraction' and not all(clip.image_size)):
        return None
    else:
        points = clip.body_pixel[:, :, joints]
        if plane == 'fraction':
            points = square(points / np.float32(clip.image_size), clip.image_size)
            hands = square(hands, clip.image_size)
    if points.shape[-1] < 2 or hands.shape[-1] < 2:
        return None
    points = points.transpose(2, 0, 1, 3)[:, :, None]  # (4, M, 1, T, 2)
    tips = hands[:, :, :, hand.index(hand.root), :2]
    with np.errstate(invalid='ignore', divide='ignore', over='ignore'):
        unit = np.hypot(*np.moveaxis(points[2] - points[3], -1, 0))
        left, right = (np.hypot(*np.moveaxis(tips - points[k], -1, 0)) / unit for k in (0, 1))
        apart = np.hypot(*np.moveaxis(points[0] - points[1], -1, 0)) / unit
    own = np.stack([left[:, 0], right[:, 1]], axis=1)
    other = np.stack([right[:, 0], left[:, 1]], axis=1)
    valid = (
        (clip.hand_score > 0) & (clip.body_score > 0)[:, None] & np.isfinite(own + other + apart)
    )
    return own, other, apart, valid


def _wrist(layout: SkeletonLayout, side: str) -> int:
    joint = f'{side}_wrist'
    return layout.index(joint) if joint in layout.joints else int(layout.part_index(joint)[0])
