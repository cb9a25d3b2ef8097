"""Extraction of a whole folder: over processes and machines, resumed where it stopped."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...errors import ClipError
from ..clip import Clip
from ..ingest import Report
from ..store import ClipStore, StoreWriter
from ..video import available_readers, open_video
from .estimators import Estimator, build_estimator
from .extract import extract_clip, fill_hands
from .output import Settings, add_splits, check_settings, open_writer, shard_folder, write_refused
from .plan import VideoJob, make_plan, read_split_lists
from .workers import Failure, run_jobs

_COMMIT_SECONDS = 5.0
LOST = 'frame that the container announces and that cannot be decoded'


@dataclass
class Outcome:
    """What a worker sends back of one video."""

    clips: list[Clip]
    frames: int
    repaired: Counter


class Worker:
    """Does the jobs of one process.

    Args:
        videos: Folder of the videos.
        settings: Of the extraction.
        store: Path of the store whose hands are wanted, or None.
        estimator: The backend.
    """

    def __init__(
        self, videos: Path, settings: Settings, store: Path | None, estimator: Estimator
    ) -> None:
        self.videos, self.settings, self.estimator = videos, settings, estimator
        self.store = None if store is None else ClipStore(store)

    def __call__(self, job: VideoJob, tick: Callable[[], None]) -> Outcome:
        repaired: Counter = Counter()
        info, frames = open_video(self.videos / job.video, job.readers)
        count = 0

        def counted() -> None:
            nonlocal count
            count += 1
            tick()

        if self.store is not None:
            clips = [self.store[row] for row in job.rows]
            layout = self.store.body_layout
            clips = fill_hands(frames, self.estimator, clips, layout, repaired, tick=counted)
            if frames.lost:
                repaired[LOST] += frames.lost
            return Outcome(clips, count, repaired)
        clip = extract_clip(
            frames,
            self.estimator,
            job.clip_ids[0],
            label=job.label,
            subject=job.subject,
            video=job.video,
            fps=info.fps,
            max_persons=self.settings.max_persons,
            tick=counted,
        )
        if frames.lost:
            repaired[LOST] += frames.lost
        return Outcome([clip], count, repaired)


def build_worker(
    videos: Path, settings: Settings, store: Path | None, models: Path | None
) -> Worker:
    """A worker with the backend of the settings; runs in the worker's process."""
    estimator = build_estimator(settings.backend, models, settings.min_score)
    return Worker(videos, settings, store, estimator)


def extract(
    videos: Path,
    out: Path,
    settings: Settings,
    *,
    store: Path | None = None,
    models: Path | None = None,
    shard: tuple[int, int] | None = None,
    workers: int = 1,
    timeout: float = 120.0,
    subject: str | None = None,
    split_lists: Sequence[str] = (),
) -> Report:
    """Extracts a folder of videos to a clip store; continues it where it exists.

    Args:
        videos: The folder.
        out: The store to write; with ``shard`` its folder of shards.
        settings: Of the extraction; must be the same when it is continued.
        store: Bodies of these clips; their hands are filled in.
        models: Model files of the backend.
        shard: ``(I, N)``: only every Nth video from the Ith (1 to N), to ``out/shard-I-of-N``.
        workers: Processes; 0 works in this one.
        timeout: Seconds without a finished frame after which a video is given up.
        subject: See ``plan_videos``.
        split_lists: See ``read_split_lists``.

    Raises:
        BHaRNetError: A wrong argument, nothing to do, or a store that is in the way.
    """
    readers = tuple(available_readers())
    report = Report('videos')
    source = None if store is None else ClipStore(store)
    plan = make_plan(videos, source, readers, subject, report)
    lists = read_split_lists(split_lists)
    jobs, target = plan.jobs, Path(out)
    if shard is not None:
        jobs, target = jobs[shard[0] - 1 :: shard[1]], shard_folder(target, *shard)
    report.found = len(jobs)
    build = partial(build_worker, Path(videos), settings, store, models)
    check_settings(target, settings)
    if jobs:
        with open_writer(target, plan, settings, source) as writer:
            _run(jobs, writer, report, build, workers, timeout)
        if shard is None:
            add_splits(target, lists, report)
    write_refused(target, report)
    return report


def _run(
    jobs: list[VideoJob],
    writer: StoreWriter,
    report: Report,
    build: Callable[[], Worker],
    workers: int,
    timeout: float,
) -> None:
    todo = [job for job in jobs if not set(job.clip_ids) <= writer.clip_ids]
    report.skipped = sum(len(set(job.clip_ids) & writer.clip_ids) for job in jobs)
    if not todo:
        return
    committed = time.monotonic()
    with _progress(len(jobs), len(jobs) - len(todo)) as advance:
        for job, outcome in zip(
            todo, run_jobs(build, todo, workers, timeout, _other_reader), strict=True
        ):
            report.read += 1
            if isinstance(outcome, Failure):
                report.refuse(job.video, outcome.reason, outcome.detail)
                advance(0)
                continue
            report.repaired.update(outcome.repaired)
            report.repaired_items.update(dict.fromkeys(outcome.repaired, 1))
            for clip in outcome.clips:
                if clip.clip_id in writer.clip_ids:
                    continue
                try:
                    writer.add(clip)
                except ClipError as error:
                    report.refuse(clip.clip_id, 'a clip that the store does not accept', str(error))
                    continue
                report.kept += 1
                report.frames += clip.num_frames
            advance(outcome.frames)
            if time.monotonic() - committed > _COMMIT_SECONDS:
                writer.commit()
                committed = time.monotonic()


def _other_reader(job: VideoJob) -> VideoJob | None:
    """The same video with the next reader, after the first hung or crashed."""
    return replace(job, readers=job.readers[1:]) if len(job.readers) > 1 else None


class _progress:
    """Videos done, frames a second and time left, on standard error."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done = total, done
        self.frames, self.start = 0, time.monotonic()

    def __enter__(self) -> Callable[[int], None]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Left

        self.bar = Progress(
            TextColumn('videos'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('{task.fields[rate]}'),
            Left(),
            TextColumn('left'),
            console=Console(file=sys.stderr),
            speed_estimate_period=600,
        )
        self.bar.start()
        self.task = self.bar.add_task('', total=self.total, completed=self.done, rate='')
        return self.advance

    def advance(self, frames: int) -> None:
        self.frames += frames
        rate = self.frames / (time.monotonic() - self.start)
        self.bar.update(self.task, advance=1, rate=f'{rate:.1f} frames a second')

    def __exit__(self, *error: object) -> None:
        self.bar.stop()
