"""Extraction of a whole folder by several processes or machines, which can be resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..ingest import Converted, Report, gather
from ..store import ClipStore, StoreWriter
from ..video import VideoFrames, available_readers, open_video
from .estimators import Estimator, build_estimator
from .extract import extract_clip, fill_hands
from .output import (
    Settings,
    add_splits,
    check_settings,
    check_splits,
    open_writer,
    shard_folder,
    write_refused,
)
from .own_splits import OwnSplits
from .plan import VideoJob, make_plan, read_split_lists
from .workers import Failure, run_jobs

LOST = 'frame that the container announces and that cannot be decoded'
CUT_OFF = 'video that ends before its header says, as one that was cut off'


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

    def __call__(self, job: VideoJob, tick: Callable[[], None]) -> Converted:
        """Clips of one video: all of its persons, or a store's clips with their hands filled in."""
        repaired: Counter = Counter()
        info, frames = open_video(self.videos / job.video, job.readers)
        if self.store is not None:
            clips = [self.store[row] for row in job.rows]
            layout = self.store.body_layout
            clips = fill_hands(frames, self.estimator, clips, layout, repaired, tick=tick)
            return _read(frames, Converted(job.video, clips, repaired))
        noticed: list[str] = []
        clip = extract_clip(
            frames,
            self.estimator,
            job.clip_ids[0],
            label=job.label,
            subject=job.subject,
            video=job.video,
            fps=info.fps,
            max_persons=self.settings.max_persons,
            tick=tick,
            noticed=noticed,
        )
        return _read(frames, Converted(job.video, [clip], repaired, noticed=noticed))


def _read(frames: VideoFrames, converted: Converted) -> Converted:
    """Adds what is remarkable about the reading of a video."""
    if frames.lost:
        converted.repaired[LOST] += frames.lost
    if frames.info.is_cut_off_at(frames.number + 1):
        converted.noticed.append(CUT_OFF)
    return converted


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
    splits: OwnSplits | None = None,
) -> Report:
    """Extracts a folder of videos to a clip store, and continues an existing one.

    Args:
        videos: The folder.
        out: The store to write, or the folder of shards with ``shard``.
        settings: Of the extraction; must be the same when it is continued.
        store: Store whose clips get hands.
        models: Model files of the backend.
        shard: ``(I, N)``: only every Nth video from the Ith (1 to N), to ``out/shard-I-of-N``.
        workers: Processes; 0 works in this one.
        timeout: Seconds without a finished frame after which a video is refused.
        subject: See ``plan_videos``.
        split_lists: See ``read_split_lists``.
        splits: Splits to make from the stored clips at the end. Whether they can be made is checked
            before the work.

    Raises:
        BHaRNetError: An argument is wrong, there is nothing to do, or the store exists and cannot
            be continued.
    """
    readers = tuple(available_readers())
    report = Report('videos')
    source = None if store is None else ClipStore(store)
    plan = make_plan(videos, source, readers, subject, report)
    lists = read_split_lists(split_lists)
    jobs, target = plan.jobs, Path(out)
    if shard is not None:
        jobs, target = jobs[shard[0] - 1 :: shard[1]], shard_folder(target, *shard)
    report.found += len(jobs)
    build = partial(build_worker, Path(videos), settings, store, models)
    check_splits(target, plan, source, lists, splits)
    check_settings(target, settings)
    if jobs:
        with open_writer(target, plan, settings, source) as writer:
            _run(jobs, writer, report, build, workers, timeout)
    write_refused(target, report)
    if jobs and shard is None:
        add_splits(target, lists, report, splits)
    return report


def _run(
    jobs: list[VideoJob],
    writer: StoreWriter,
    report: Report,
    build: Callable[[], Worker],
    workers: int,
    timeout: float,
) -> None:
    held = set(writer.clip_ids)
    todo = [job for job in jobs if not set(job.clip_ids) <= held]
    report.skipped = sum(len(set(job.clip_ids) & held) for job in jobs)
    gather(
        run_videos(build, todo, workers, timeout, lambda job: [job.video]),
        writer,
        report,
        held=held,
    )


def run_videos(
    build: Callable,
    jobs: Sequence[VideoJob],
    workers: int,
    timeout: float,
    names: Callable[[VideoJob], Sequence[str]],
) -> Iterator[Converted]:
    """The result of each video, in order. A video that failed is refused.

    Args:
        build, workers, timeout: See ``run_jobs``. The built function gives a ``Converted`` for each
            job.
        jobs: The videos.
        names: Function that gives the refused names of a failed job.
    """
    if not jobs:
        return
    outcomes = run_jobs(build, jobs, workers, timeout, _other_reader)
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, Failure):
            refused = [(name, outcome.reason, outcome.detail) for name in names(job)]
            outcome = Converted(job.video, refused=refused)
        yield outcome


def _other_reader(job: VideoJob) -> VideoJob | None:
    """The same video with the next reader, after the first hung or crashed."""
    return replace(job, readers=job.readers[1:]) if len(job.readers) > 1 else None
