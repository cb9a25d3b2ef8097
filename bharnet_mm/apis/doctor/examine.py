"""Examining a collection from end to end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from . import checks, split_checks
from .collection import open_collection
from .diagnosis import SEVERITIES, Diagnosis, Finding
from .facts import find_reference, gather
from .survey import Survey, class_table, example_clip, length_histogram, split_table, totals

CHECKS = (
    ('integrity', checks.check_integrity),
    ('repairs', checks.check_repairs),
    ('labels', checks.check_labels),
    ('finite', checks.check_finite),
    ('coordinates', checks.check_coordinates),
    ('joints', checks.check_joints),
    ('square', checks.check_square),
    ('frozen', checks.check_frozen),
    ('length', checks.check_length),
    ('missing', checks.check_missing),
    ('hands', checks.check_hands),
    ('sides', checks.check_sides),
    ('wrists', checks.check_wrists),
    ('duplicates', split_checks.check_duplicates),
    ('splits', split_checks.check_splits),
    ('leakage', split_checks.check_leakage),
)


def examine(
    path: str | os.PathLike,
    videos: str | os.PathLike | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Diagnosis:
    """Examines a clip store or an annotation pickle.

    Every clip is read once. About a hundred bytes are kept of each.

    Args:
        path: Folder of a store, or a pickle, which is read without running code.
        videos: Folder of the videos that clips name; their frames are counted.
        progress: Wraps the numbers of the clips while they are read, to show how far it is.

    Returns:
        All findings, errors first.

    Raises:
        BHaRNetError: The path is neither a store nor a pickle that can be read safely.
    """
    collection = open_collection(path)
    name = os.path.basename(os.path.normpath(path))
    if isinstance(collection, Finding):  # damaged as a whole
        return Diagnosis(str(path), name, 'clip store', ['integrity'], [collection])
    reference = find_reference(collection)
    survey = Survey(collection, reference, *gather(collection, reference, progress))
    findings = list(collection.findings)
    for _, check in CHECKS:
        findings += check(survey)
    names = [name for name, _ in CHECKS]
    if videos is not None:
        findings += split_checks.check_videos(survey, videos)
        names.append('videos')
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Diagnosis(
        path=str(path),
        name=collection.name,
        kind=collection.kind,
        checks=names,
        findings=findings,
        totals=totals(survey),
        splits=split_table(survey),
        classes=class_table(survey),
        lengths=length_histogram(survey),
        example=example_clip(survey),
        collection=collection,
    )
