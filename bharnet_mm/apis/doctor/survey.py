"""A collection with its facts, and the statistics that checks and report need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .collection import Collection
from .diagnosis import Finding
from .facts import Reference

#: Examples named in a finding.
SHOWN = 5


@dataclass
class Survey:
    """The data for the checks.

    Args:
        collection: The clips.
        reference: Their common facts.
        facts: Rows of ``FACTS``, (n,).
        unread: Reason to the numbers of the clips that cannot be read for it.
    """

    collection: Collection
    reference: Reference
    facts: np.ndarray
    unread: dict[str, list[int]]

    @property
    def read(self) -> np.ndarray:
        """Clips that could be read, (n,) bool."""
        return ~self.facts['unread']

    @property
    def has_hands(self) -> bool:
        """Whether the collection stores hands."""
        return self.collection.hand_layout is not None

    @property
    def in_classes(self) -> np.ndarray:
        """Clips whose label is a class, (n,) bool."""
        labels = self.collection.labels
        return (labels >= 0) & (labels < len(self.collection.classes))

    def class_counts(self, mask: np.ndarray | None = None) -> np.ndarray:
        """Clips of each class, (K,)."""
        good = self.in_classes if mask is None else self.in_classes & mask
        return np.bincount(self.collection.labels[good], minlength=len(self.collection.classes))

    def class_sums(self, field: str) -> np.ndarray:
        """A fact summed over the clips of each class, (K,)."""
        good = self.in_classes
        labels, weights = self.collection.labels[good], self.facts[field][good]
        return np.bincount(labels, weights, minlength=len(self.collection.classes))

    def missing(self, field: str, mask: np.ndarray | None = None) -> float | None:
        """Share of frames in which a fact does not hold: ``visible``, ``left``, ``hands`` ..."""
        facts = self.facts if mask is None else self.facts[mask]
        frames = int(facts['frames'].sum())
        return 1 - int(facts[field].sum()) / frames if frames else None

    def pairs(self) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
        """Protocols with the masks of their training and test clips, (n,) bool each."""
        masks = self.collection.masks
        for name in masks:
            found = re.fullmatch(r'((?:.*_)?)train', name)
            for end in ('test', 'val') if found else ():
                if (other := found.group(1) + end) in masks:
                    yield f'{name} / {other}', (masks[name], masks[other])

    def finding(
        self, check: str, severity: str, message: str, fix: str, clips: np.ndarray | Sequence[int]
    ) -> Finding:
        """A finding about clips, given as numbers or as (n,) bool."""
        clips = np.asarray(clips)
        numbers = np.flatnonzero(clips) if clips.dtype == bool else clips
        examples = self.collection.ids(numbers[:SHOWN])
        return Finding(check, severity, message, fix, len(numbers), examples)

    def classes_finding(
        self, check: str, severity: str, message: str, fix: str, classes: np.ndarray
    ) -> Finding:
        """A finding about classes, given as numbers."""
        names = tuple(self.collection.classes[i] for i in classes[:SHOWN])
        return Finding(check, severity, message, fix, len(classes), names)

    def share(self, field: str, of: str) -> np.ndarray:
        """One fact as a share of another in each clip, (n,); 0 if there is none of it."""
        return self.facts[field] / np.maximum(self.facts[of], 1)


def share_text(value: float | None) -> str:
    """A share as a percentage."""
    if value is None:
        return '-'
    return '<0.1%' if 0 < value < 0.0005 else f'{value:.1%}'


def class_table(survey: Survey) -> list[dict[str, Any]]:
    """Counts and missing shares of each class."""
    collection = survey.collection
    counts = survey.class_counts()
    splits = {name: survey.class_counts(mask) for name, mask in collection.masks.items()}
    frames = survey.class_sums('frames')
    sums = {field: survey.class_sums(field) for field in ('visible', 'left', 'right', 'hands')}

    def missing(field: str, k: int) -> float | None:
        hand = field != 'visible' and not survey.has_hands
        return None if hand or not frames[k] else float(1 - sums[field][k] / frames[k])

    return [
        dict(
            number=k,
            name=name,
            clips=int(counts[k]),
            splits={split: int(of_split[k]) for split, of_split in splits.items()},
            missing_person=missing('visible', k),
            missing_left=missing('left', k),
            missing_right=missing('right', k),
            missing_hands=missing('hands', k),
        )
        for k, name in enumerate(collection.classes)
    ]


def split_table(survey: Survey) -> list[dict[str, Any]]:
    """Counts and missing shares of each split."""
    collection, table = survey.collection, []
    subjects = collection.column('subject')
    for name, mask in collection.masks.items():
        known = np.unique(subjects[mask])
        table.append(
            dict(
                name=name,
                clips=int(mask.sum()),
                classes=int((survey.class_counts(mask) > 0).sum()),
                subjects=int((known != b'').sum()),
                missing_person=survey.missing('visible', mask),
                missing_hands=survey.missing('hands', mask) if survey.has_hands else None,
            )
        )
    return table


def totals(survey: Survey) -> dict[str, Any]:
    """Numbers of the whole collection."""
    collection, facts = survey.collection, survey.facts
    hands = survey.has_hands
    return dict(
        clips=len(collection),
        frames=int(facts['frames'].sum()),
        classes=len(collection.classes),
        subjects=int((np.unique(collection.column('subject')) != b'').sum()),
        body_layout=collection.body_layout.name,
        hand_layout=collection.hand_layout.name if hands else None,
        missing_person=survey.missing('visible'),
        missing_left=survey.missing('left') if hands else None,
        missing_right=survey.missing('right') if hands else None,
        missing_hands=survey.missing('hands') if hands else None,
        clips_without_hands=int((survey.read & (facts['hands'] == 0)).sum()) if hands else None,
        wrists_compared=int(facts['wrists'].sum()),
        wrists_crossed=int(facts['crossed'].sum()),
        hand_plane=survey.reference.plane,
    )


def length_histogram(survey: Survey, bins: int = 24) -> dict[str, list[int]]:
    """Clips by number of frames, in bins of whole frames."""
    frames = survey.facts['frames'][survey.read]
    if not len(frames):
        return dict(edges=[], counts=[])
    low, high = int(frames.min()), int(frames.max())
    step = max(1, -(-(high - low + 1) // bins))
    edges = np.arange(low, high + step + 1, step)
    return dict(edges=edges.tolist(), counts=np.histogram(frames, edges)[0].tolist())


def example_clip(survey: Survey) -> int | None:
    """A clip of usual length with as many visible frames as possible."""
    if not survey.read.any():
        return None
    facts = survey.facts
    shown = survey.share('visible', 'frames') + survey.share('hands', 'frames')
    usual = np.median(facts['frames'][survey.read])
    shown = shown - 0.1 * np.abs(facts['frames'] / max(usual, 1) - 1)
    return int(np.where(survey.read, shown, -np.inf).argmax())
