"""Checks across clips: duplicates, splits, leakage and videos."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import BHaRNetError, ConfigError
from ...io.packages import import_package
from .diagnosis import Finding
from .survey import SHOWN, Survey

#: Field that a protocol holds out according to its name, if no rule tells it.
HELD_OUT = {
    'subject': r'x-?sub|(cross|leave).*(subject|signer)|loso',
    'camera': r'x-?view|cross.*(view|camera)',
    'setup': r'x-?set|cross.*setup',
}


def check_splits(survey: Survey) -> Iterator[Finding]:
    """Splits that cannot be used, overlap, or test classes without training clips."""
    masks = survey.collection.masks
    if not survey.collection.rules:
        fix = 'give configs a rule on the fields, or write splits into the store'
        yield Finding('splits', 'note', 'no splits', fix)
        return
    for name in masks:
        other = re.sub(r'train$', 'test', name)
        partners = {other, re.sub(r'train$', 'val', name)}
        if other != name and not partners & set(survey.collection.rules):
            fix = f'add a split {other}'
            yield Finding('splits', 'warning', f'split {name} has no test split', fix)
    for name, (train, test) in survey.pairs():
        if (both := train & test).any():
            fix = 'every clip of a protocol belongs to training or to test'
            message = f'protocol {name}: clips in training and in test'
            yield survey.finding('splits', 'error', message, fix, both)
        learned, asked = survey.class_counts(train), survey.class_counts(test)
        new = np.flatnonzero((learned == 0) & (asked > 0))
        if len(new):
            message = f'protocol {name}: classes in test that are not in training'
            fix = 'they can never be recognized: change the split or leave them out'
            yield survey.classes_finding('splits', 'error', message, fix, new)
        untested = np.flatnonzero((learned > 0) & (asked == 0))
        if len(untested):
            message = f'protocol {name}: classes in training that are not in test'
            fix = 'the result says nothing about them'
            yield survey.classes_finding('splits', 'note', message, fix, untested)
    used = np.any(list(masks.values()), axis=0) if masks else np.zeros(0, bool)
    if masks and not used.all():
        fix = 'widen a split if they were meant to be used'
        yield survey.finding('splits', 'note', 'clips in no split', fix, ~used)


def check_leakage(survey: Survey) -> Iterator[Finding]:
    """Subjects, cameras, setups and recordings on both sides of a protocol."""
    collection = survey.collection
    videos = collection.column('video')
    for name, (train, test) in survey.pairs():
        for field in held_out(survey, name):
            values = collection.column(field)
            if (values == b'').all():
                message = f'protocol {name}: no clip says its {field}, so leakage cannot be seen'
                yield Finding('leakage', 'note', message, f'convert with the {field} of each clip')
                continue
            shared = np.intersect1d(values[train], values[test])
            shared = shared[shared != b'']
            if len(shared):
                message = f'protocol {name}: {field}s in training and in test'
                fix = f'split so that no {field} is in both, or name the protocol otherwise'
                some = tuple(value.decode('utf-8', 'replace') for value in shared[:SHOWN])
                yield Finding('leakage', 'error', message, fix, len(shared), some)
        shared = np.intersect1d(videos[train], videos[test])
        shared = shared[shared != b'']
        if not len(shared):
            continue
        twice = _overlapping(survey, np.isin(videos, shared), train, test)
        if len(twice):
            message = f'protocol {name}: test clips that show frames of a training clip'
            fix = 'cut the clips apart, or keep each recording on one side'
            yield survey.finding('leakage', 'error', message, fix, twice)
        message = f'protocol {name}: videos cut into clips on both sides'
        fix = 'clips of one recording are alike: keep each recording on one side'
        some = tuple(value.decode('utf-8', 'replace') for value in shared[:SHOWN])
        yield Finding('leakage', 'warning', message, fix, len(shared), some)


def held_out(survey: Survey, protocol: str) -> list[str]:
    """Fields by which a protocol splits: rules differ in them, or its name says so."""
    train, test = (survey.collection.rules[name] for name in protocol.split(' / '))
    fields = {
        field
        for field in HELD_OUT
        if field in train and field in test and train[field] != test[field]
    }
    named = {field for field, form in HELD_OUT.items() if re.search(form, protocol.lower())}
    return sorted(fields or named)


def check_duplicates(survey: Survey) -> Iterator[Finding]:
    """The same coordinates under two ids."""
    facts, collection = survey.facts, survey.collection
    keys = ['persons', 'frames', 'body_key', 'hand_key']
    shown = survey.read & (facts['visible'] + facts['hands'] > 0)
    numbers = np.flatnonzero(shown & np.isfinite(facts['body_key'] + facts['hand_key']))
    columns = [np.ascontiguousarray(facts[key][numbers]) for key in keys]
    order = np.lexsort(columns)
    numbers, columns = numbers[order], [column[order] for column in columns]
    equal = np.all([column[1:] == column[:-1] for column in columns], axis=0)
    copies: list[tuple[int, int]] = []
    for group in np.split(numbers, np.flatnonzero(~equal) + 1):
        if len(group) > 1:  # the keys are sums, so only candidates
            copies += _same_content(survey, sorted(group.tolist()))
    if not copies:
        return
    pairs = np.array(copies)
    labels = collection.labels[pairs]
    fix = 'keep one of each; which is right, the source must say'
    different = labels[:, 0] != labels[:, 1]
    if different.any():
        message = 'clips with the content of another clip, but another label'
        yield survey.finding('duplicates', 'error', message, fix, pairs[different].ravel())
    # Members of the groups of equal clips, each with the first of its group.
    numbers, firsts = np.concatenate([np.unique(pairs[:, :1], axis=0)[:, [0, 0]], pairs[:, ::-1]]).T
    for name, (train, test) in survey.pairs():
        trained = np.isin(firsts, firsts[train[numbers]])
        leaks = np.sort(numbers[trained & test[numbers] & ~train[numbers]])
        if len(leaks):
            message = (
                f'protocol {name}: {len(leaks)} of {test.sum()} test clips have the content of a '
                'training clip'
            )
            text = 'leave the copies out of training, or report the result without them too'
            yield survey.finding('duplicates', 'error', message, text, leaks)
    message = 'clips with the content of another clip'
    yield survey.finding('duplicates', 'warning', message, fix, pairs[:, 1])


def check_videos(survey: Survey, folder: str | Path) -> Iterator[Finding]:
    """Compares frame numbers with the number of frames in each video file.

    Raises:
        ConfigError: decord is not installed, or there is no such folder.
    """
    decord = import_package('--videos, which counts frames', 'decord')
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError('--videos', f'no folder {str(folder)!r}', 'a folder', 'correct the path')
    column = survey.collection.column('video')
    names, which, clips = np.unique(column, return_inverse=True, return_counts=True)
    if (names == b'').all():
        yield Finding('videos', 'note', 'no clip names a video', 'convert with videos')
        return
    last = np.zeros(len(names), np.int64)
    np.maximum.at(last, which, survey.facts['last'] + 1)
    counts = np.zeros(len(names), np.int64)  # -1: missing, -2: not readable
    for k, name in enumerate(names.tolist()):
        if name:
            counts[k] = _count_frames(decord, folder, name.decode('utf-8', 'surrogateescape'))
    asked = names != b''

    def of(videos: np.ndarray) -> tuple[int, tuple[str, ...]]:
        numbers = np.flatnonzero(videos & asked)
        return len(numbers), tuple(names[k].decode('utf-8', 'replace') for k in numbers[:SHOWN])

    checks = (
        (counts == -1, 'warning', 'videos that are not in the folder', 'correct the folder'),
        (counts == -2, 'error', 'videos that cannot be opened', 'download them again'),
        (
            (counts >= 0) & (last > counts),
            'error',
            'videos with fewer frames than a clip of theirs says',
            'the clip belongs to another video, or the video was cut or re-encoded',
        ),
        (
            (counts >= 0) & (clips == 1) & (counts > last + np.maximum(5, last // 10)),
            'warning',
            'videos much longer than the one clip of theirs',
            'look whether the extraction stopped early',
        ),
    )
    for hit, severity, message, fix in checks:
        count, some = of(hit)
        if count:
            yield Finding('videos', severity, message, fix, count, some)


def _count_frames(decord, folder: Path, name: str) -> int:
    path = folder / name
    path = path if path.is_file() else folder / Path(name).name
    if not path.is_file():
        return -1
    try:
        return len(decord.VideoReader(str(path), num_threads=1))
    except RuntimeError:  # decord's errors are
        return -2


def _overlapping(
    survey: Survey, clips: np.ndarray, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Test clips that share frames of a video with a training clip, as numbers.

    ``clips`` are those of videos on both sides. A test clip overlaps if among the training clips of
    its video that begin no later than it ends, one ends no earlier than it begins.
    """
    numbers = np.flatnonzero(clips & (train | test) & survey.read)
    _, video = np.unique(survey.collection.column('video')[numbers], return_inverse=True)
    found = []
    for group in np.split(
        numbers[np.argsort(video, kind='stable')], np.cumsum(np.bincount(video))[:-1]
    ):
        mine, theirs = group[train[group]], group[test[group]]
        first, last = (survey.facts[key][mine] for key in ('first', 'last'))
        order = np.argsort(first)
        latest = np.maximum.accumulate(last[order])
        before = np.searchsorted(first[order], survey.facts['last'][theirs], side='right')
        hit = (before > 0) & (latest[np.maximum(before, 1) - 1] >= survey.facts['first'][theirs])
        # A clip on both sides is an overlap of the splits, not of two clips.
        found += theirs[hit & ~train[theirs]].tolist()
    return np.array(found, dtype=np.int64)


def _same_content(survey: Survey, numbers: list[int]) -> list[tuple[int, int]]:
    """(first, copy) for every clip whose coordinates are those of an earlier one."""
    firsts: list[int] = []
    copies = []
    for number in numbers:
        try:
            clip = survey.collection.clip(number)
            for first in firsts:
                other = survey.collection.clip(first)
                if np.array_equal(clip.body, other.body) and np.array_equal(clip.hand, other.hand):
                    copies.append((first, number))
                    break
            else:
                firsts.append(number)
        except BHaRNetError:
            continue  # counted in the main pass
    return copies
