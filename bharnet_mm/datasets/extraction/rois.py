"""Region grids of a whole clip store, cut once into a region store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import SourceError, StoreError
from ..ingest import Report
from ..regions import ClipRegions, RegionGrid, make_grids
from ..store import ClipStore
from ..store.regions import RegionStore, RegionWriter, encode
from ..video import available_readers, read_frames
from .output import write_refused
from .plan import VideoJob, plan_store
from .runner import _COMMIT_SECONDS, _other_reader, _progress
from .workers import Failure, run_jobs


@dataclass
class ClipGrids:
    """The grids of one clip: JPEG bytes of each offset and masks ``(S, R, F)``."""

    clip_id: str
    pictures: list[bytes]
    masks: np.ndarray


@dataclass
class Outcome:
    """What a worker sends back of one video."""

    clips: list[ClipGrids] = field(default_factory=list)
    frames: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


class RegionWorker:
    """Does the jobs of one process.

    Args:
        videos: Folder of the videos.
        store: Path of the clip store.
        grid: What is wanted.
        quality: Of the JPEG pictures.
    """

    def __init__(self, videos: Path, store: Path, grid: RegionGrid, quality: int) -> None:
        self.videos, self.store = videos, ClipStore(store)
        self.grid, self.quality = grid, quality

    def __call__(self, job: VideoJob, tick: Callable[[], None]) -> Outcome:
        try:
            return self._extract(job, job.rows, tick)
        except SourceError:
            if len(job.rows) == 1:
                raise
        out = Outcome()  # one clip's frames may be missing while the others' are there
        for row, clip_id in zip(job.rows, job.clip_ids, strict=True):
            try:
                one = self._extract(job, (row,), tick)
                out.clips += one.clips
                out.frames += one.frames
            except SourceError as error:
                out.refused.append((clip_id, str(error)))
        return out

    def _extract(self, job: VideoJob, rows: Sequence[int], tick: Callable[[], None]) -> Outcome:
        clips = [self.store[row] for row in rows]
        layout, offsets = self.store.body_layout, range(self.grid.num_offsets)
        regions = [
            ClipRegions(self.grid, c.body_pixel, c.body_score > 0, layout, c.image_size)
            for c in clips
        ]
        wanted: dict[int, list[tuple[int, int]]] = {}
        for c, (clip, places) in enumerate(zip(clips, regions, strict=True)):
            if not places.empty:
                for t in np.unique([places.frames(s) for s in offsets]):
                    wanted.setdefault(int(clip.frame_index[t]), []).append((c, int(t)))
        columns: list[dict] = [{} for _ in clips]
        frames = read_frames(self.videos / job.video, wanted, job.readers) if wanted else ()
        for number, image in frames:
            for c, t in wanted[number]:
                columns[c][t] = regions[c].column(t, image)
            tick()
        out = Outcome(frames=len(wanted))
        for clip, places, cells in zip(clips, regions, columns, strict=True):
            if places.empty:
                mask = self.grid.empty()[1]
                grids, pictures = [(None, mask)] * len(offsets), [b''] * len(offsets)
            else:
                grids = make_grids(places, offsets, cells)
                pictures = [encode(rgb, self.quality) for rgb, _ in grids]
            masks = np.stack([mask for _, mask in grids])
            out.clips.append(ClipGrids(clip.clip_id, pictures, masks))
        return out


def extract_regions(
    videos: Path,
    store: Path,
    out: Path,
    grid: RegionGrid,
    *,
    quality: int = 90,
    workers: int = 1,
    timeout: float = 120.0,
) -> Report:
    """Cuts the grids of all clips of a store, all offsets; continues where it stopped.

    Args:
        videos: Folder of the videos; found as ``VideoFolder`` says.
        store: The clip store, with ``body_pixel``.
        out: The region store to write or continue.
        grid, quality: Of the grids.
        workers: Processes; 0 works in this one, without a guard against hanging.
        timeout: Seconds without a frame after which a video is given up.

    Returns:
        The account; what was refused is also in ``out/refused.json``.

    Raises:
        StoreError: The clip store has no pixels; see also ``RegionWriter``.
        ConfigError, SourceError: A wrong argument; no videos.
    """
    clips = ClipStore(store)
    if not clips.meta['pixels']:
        raise StoreError(
            f'{store}',
            'a clip store without pixel positions',
            'body_pixel, which says where the regions are',
            'convert the data with pixels (tools/data/ntu.py and extract_hands.py write them)',
        )
    report = Report('videos')
    jobs = plan_store(Path(videos), clips, tuple(available_readers()), report).jobs
    report.found = len(jobs)
    with RegionWriter(out, grid, quality) as writer:
        todo = [job for job in jobs if not set(job.clip_ids) <= writer.clip_ids]
        report.skipped = sum(len(set(job.clip_ids) & writer.clip_ids) for job in jobs)
        build = partial(RegionWorker, Path(videos), Path(store), grid, quality)
        if todo:
            _run(todo, len(jobs), writer, report, build, workers, timeout)
    write_refused(Path(out), report)
    if not len(RegionStore(out)):
        report.notes.append('the region store is empty')
    return report


def _run(
    todo: list[VideoJob],
    total: int,
    writer: RegionWriter,
    report: Report,
    build: Callable[[], RegionWorker],
    workers: int,
    timeout: float,
) -> None:
    committed = time.monotonic()
    with _progress(total, total - len(todo)) as advance:
        outcomes = run_jobs(build, todo, workers, timeout, _other_reader)
        for job, outcome in zip(todo, outcomes, strict=True):
            report.read += 1
            if isinstance(outcome, Failure):
                for clip_id in job.clip_ids:
                    report.refuse(clip_id, outcome.reason, outcome.detail)
                advance(0)
                continue
            for clip_id, detail in outcome.refused:
                report.refuse(clip_id, 'frames that its video lacks', detail)
            for clip in outcome.clips:
                if clip.clip_id not in writer.clip_ids:
                    writer.add(clip.clip_id, clip.pictures, clip.masks)
                    report.kept += 1
            report.frames += outcome.frames
            advance(outcome.frames)
            if time.monotonic() - committed > _COMMIT_SECONDS:
                writer.commit()
                committed = time.monotonic()
