"""The videos to extract: those of a folder, or those of a store's clips."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import ConfigError, SourceError
from ...io.names import from_bytes, repeated, same_form
from ...io.text import read_lines
from ..ingest import Report
from ..store import ClipStore
from ..video import SUFFIXES, VideoFolder, list_videos

UNKNOWN = 'unknown'


@dataclass(frozen=True)
class VideoJob:
    """One video, read once.

    Args:
        video: Path relative to the folder of videos.
        clip_ids: Ids of its clips, in order.
        rows: The clips' numbers in the store whose hands are wanted; empty for a plain video.
        label, subject: Label and subject of a plain video.
        readers: Names of video readers, best first.
    """

    video: str
    clip_ids: tuple[str, ...]
    rows: tuple[int, ...] = ()
    label: int = 0
    subject: str = ''
    readers: tuple[str, ...] = ('decord',)


@dataclass
class Plan:
    """All jobs, in the order of their clips in the output store."""

    jobs: list[VideoJob] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)

    @property
    def clip_ids(self) -> list[str]:
        """Ids of the clips of all jobs, in the order of the store."""
        return [clip_id for job in self.jobs for clip_id in job.clip_ids]


def plan_videos(
    folder: Path, readers: tuple[str, ...], subject: str | None = None, report: Report | None = None
) -> Plan:
    """Plain videos: the clip id is the path without its ending, the class the folder it lies in.

    Videos without a folder have the class ``unknown``. Names are in one Unicode form (NFC).

    Args:
        folder: ``<label>/<clip>.mp4`` or ``<clip>.mp4``; folders above that of the label, such as
            ``<subject>/<label>/<clip>.mp4``, only tell clips apart.
        readers: Names of video readers for the jobs.
        subject: Regular expression searched in the relative path; its first group (or all of the
            match) is the subject.
        report: Report that gets the files which were not read.

    Raises:
        SourceError: There are no videos, or two that differ only in their endings.
        ConfigError: The expression is malformed, or a video does not match it.
    """
    others: list[str] = []
    report = report or Report()
    paths = list_videos(folder, others, report.unusable)
    if others:
        kinds = sorted({Path(name).suffix or Path(name).name for name in others})
        report.notes.append(
            f'passed over {len(others)} files that are no videos ({", ".join(kinds[:8])}), '
            f'such as {", ".join(others[:3])}'
        )
    names = [same_form(name) for name in paths]
    ids = [name[: name.rindex('.')] for name in names]
    if twice := repeated(ids):
        raise SourceError(
            str(folder),
            f'several videos that differ only in their endings: {twice}',
            'one video a clip',
            'remove or rename all but one of each',
        )
    folders = [Path(name).parent.name or UNKNOWN for name in names]
    classes = sorted(set(folders))
    number = {name: i for i, name in enumerate(classes)}
    jobs = [
        VideoJob(path, (clip_id,), (), number[label], _subject(subject, name), readers)
        for path, name, clip_id, label in zip(paths, names, ids, folders, strict=True)
    ]
    return Plan(jobs, classes)


def make_plan(
    videos: Path,
    source: ClipStore | None,
    readers: tuple[str, ...],
    subject: str | None,
    report: Report,
) -> Plan:
    """``plan_videos``, or ``plan_store`` if there is a store."""
    if source is None:
        return plan_videos(Path(videos), readers, subject, report)
    return plan_store(Path(videos), source, readers, report)


def _subject(pattern: str | None, name: str) -> str:
    if pattern is None:
        return ''
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise ConfigError(
            '--subject-regex', f'{pattern!r} ({error})', 'a regular expression', 'correct it'
        ) from None
    if match is None:
        raise ConfigError(
            '--subject-regex', f'no match in {name!r}', 'a match in every path', 'widen it'
        )
    return match.group(1) if match.re.groups else match.group(0)


def plan_store(folder: Path, store: ClipStore, readers: tuple[str, ...], report: Report) -> Plan:
    """The videos of a store's clips, in the order of the store; clips without one are refused.

    Videos are found by ``VideoFolder``.
    """
    videos = VideoFolder(folder)
    by_video: dict[str, list[int]] = {}
    ids = [str(clip_id) for clip_id in store.clip_ids]
    for row, raw in enumerate(store.column('video')):
        wanted = from_bytes(raw)
        found = videos.find(wanted, ids[row])
        if len(found) == 1:
            by_video.setdefault(found[0], []).append(row)
        else:
            reason = 'several videos of this name' if found else 'no video of this name'
            report.refuse(ids[row], reason, wanted or f'{ids[row]}.*')
    jobs = [
        VideoJob(video, tuple(ids[row] for row in rows), tuple(rows), readers=readers)
        for video, rows in by_video.items()
    ]
    return Plan(jobs, list(store.classes))


def read_split_lists(texts: Sequence[str]) -> dict[str, list[str]]:
    """``NAME=FILE`` arguments to split name and the clip ids in the file, one for each line.

    A line may be a clip id or the path of the video (its ending is dropped); empty lines and those
    that begin with # are skipped.

    Raises:
        ConfigError: Not of this form, or no such file.
    """
    out = {}
    for text in texts:
        name, equals, file = text.partition('=')
        if not (name and equals and Path(file).is_file()):
            raise ConfigError(
                f'--split-list {text}',
                'no NAME=FILE of a file that exists',
                'mine_train=train.txt',
                'name the split and the file',
            )  # fmt: skip
        lines = read_lines(file, expected='clip ids, one a line')
        out[name] = [
            line[: line.rindex('.')] if line.lower().endswith(SUFFIXES) else line
            for line in map(same_form, lines)
            if line and not line.startswith('#')
        ]
    return out
