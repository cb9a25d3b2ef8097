"""Splits of your own videos: by subject, leaving one subject out, or a share of each class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import ConfigError
from ...io.names import from_bytes, to_bytes
from ..ingest import Report
from ..protocols import leave_one_out
from ..store import ClipStore


@dataclass(frozen=True)
class Labelled:
    """The clips that are split: of a store, or those that an extraction is going to store.

    Args:
        clip_ids, classes, subjects: Id, name of the class and subject of each clip.
    """

    clip_ids: Sequence[str]
    classes: Sequence[str]
    subjects: Sequence[str]

    @classmethod
    def of(cls, store: ClipStore) -> Labelled:
        """The clips of a store."""
        return cls(
            [str(clip_id) for clip_id in store.clip_ids],
            [store.classes[label] for label in store.labels],
            [from_bytes(raw) for raw in store.column('subject')],
        )

    def __add__(self, other: Labelled) -> Labelled:
        """Both; a clip that both have is taken from the first."""
        have = set(self.clip_ids)
        new = [i for i, clip_id in enumerate(other.clip_ids) if clip_id not in have]
        return Labelled(
            *(
                [*mine, *(theirs[i] for i in new)]
                for mine, theirs in (
                    (self.clip_ids, other.clip_ids),
                    (self.classes, other.classes),
                    (self.subjects, other.subjects),
                )
            )
        )


@dataclass(frozen=True)
class OwnSplits:
    """The splits to make from the clips of a store.

    Args:
        test_subjects: These subjects are ``own_test``, all others ``own_train``.
        leave_one_out: For each subject ``SUBJECT_test``, and ``SUBJECT_train`` with all others.
        test_share: This share of each class is ``own_test``, the rest ``own_train``. The clips are
            drawn by their ids and ``seed``, so the same clips give the same split on every machine.
            If clips are added later, the share is drawn again, and a few clips may change their
            split.
        seed: Seed of ``test_share``.

    Raises:
        ConfigError: Both subjects and a share for ``own_test``, or a share outside (0, 1).
    """

    test_subjects: tuple[str, ...] = ()
    leave_one_out: bool = False
    test_share: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.test_subjects and self.test_share is not None:
            raise ConfigError(
                'splits',
                'test subjects and a test share',
                'one of them, as both make own_train and own_test',
                'choose one',
            )
        if self.test_share is not None and not 0 < self.test_share < 1:
            raise ConfigError(
                'test share', f'{self.test_share}', 'more than 0 and less than 1', 'such as 0.2'
            )

    def rules(self, clips: Labelled, report: Report) -> dict[str, dict]:
        """Split name to rule, see ``docs/data.md``.

        Args:
            clips: The clips that are split.
            report: Report that gets remarks, such as classes of a single clip.

        Raises:
            ConfigError: There is no clip of a subject, or there are too few subjects or clips.
        """
        out: dict[str, dict] = {}
        if self.test_subjects or self.leave_one_out:
            subjects = _subjects(clips)
            unknown = sorted(set(self.test_subjects) - set(subjects))
            if unknown or len(set(subjects) - set(self.test_subjects)) < 1:
                raise ConfigError(
                    'test subjects',
                    f'{unknown or list(self.test_subjects)}',
                    f'some but not all of {subjects}',
                    'correct the names',
                )
            if self.test_subjects:
                test = list(self.test_subjects)
                out['own_train'] = {'subject': {'not_in': test}}
                out['own_test'] = {'subject': test}
            if self.leave_one_out:
                out |= leave_one_out('subject', subjects)
        if self.test_share is not None:
            out |= self._share(clips, report)
        return out

    def _share(self, clips: Labelled, report: Report) -> dict[str, dict]:
        by_class: dict[str, list[str]] = {}
        for clip_id, name in zip(clips.clip_ids, clips.classes, strict=True):
            by_class.setdefault(name, []).append(clip_id)
        test: set[str] = set()
        alone = []
        for name, ids in sorted(by_class.items()):
            if len(ids) < 2:
                alone.append(name)
                continue
            num = min(max(round(self.test_share * len(ids)), 1), len(ids) - 1)
            test.update(sorted(ids, key=self._place)[:num])
        if alone:
            report.notes.append(f'classes of one clip are for training only: {alone[:5]}')
        if not test:
            raise ConfigError(
                'test share',
                f'no class of two clips or more (classes: {alone[:5]})',
                'two clips of a class, the class being the folder of the video',
                'add videos, or leave --test-share out',
            )
        return {
            'own_train': {'clip_id': [i for i in clips.clip_ids if i not in test]},
            'own_test': {'clip_id': [i for i in clips.clip_ids if i in test]},
        }

    def _place(self, clip_id: str) -> str:
        return hashlib.sha256(to_bytes(f'{self.seed} {clip_id}')).hexdigest()


def _subjects(clips: Labelled) -> list[str]:
    """The subjects of the clips.

    Raises:
        ConfigError: A clip has none, or there is only one.
    """
    subjects = sorted(set(clips.subjects))
    if '' in subjects or len(subjects) < 2:
        raise ConfigError(
            'splits by subject',
            f'clips of subjects {subjects}',
            'a subject of each clip, and two subjects or more',
            "say how paths name them, for example --subject-regex '(S[0-9]+)_'",
        )
    return subjects
