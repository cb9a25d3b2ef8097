"""Region grids of a whole clip store, cut once into a region store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import SourceError, StoreError
from ..grid_maker import GridMaker
from ..ingest import Converted, Report, gather
from ..regions import ClipRegions, RegionGrid
from ..store import ClipStore
from ..store.regions import RegionStore, RegionWriter, encode
from ..video import available_readers, read_frames
from .output import write_refused
from .plan import VideoJob, plan_store
from .runner import run_videos


@dataclass
class ClipGrids:
    """The grids of one clip: JPEG bytes of each offset (colours, motion) and masks ``(S, R,
    F)``.
    """

    clip_id: str
    grids: list[tuple[bytes, bytes]]
    masks: np.ndarray


class RegionWorker:
    """Does the jobs of one process.

    Args:
        videos: Folder of the videos.
        store: Path of the clip store.
        grid: The grid to cut.
        quality: Quality of the JPEG images.
    """

    def __init__(self, videos: Path, store: Path, grid: RegionGrid, quality: int) -> None:
        self.videos, self.store = videos, ClipStore(store)
        self.grid, self.quality = grid, quality

    def __call__(self, job: VideoJob, tick: Callable[[], None]) -> Converted:
        """Region grids of the clips of one video.

        Raises:
            SourceError: The only clip of the job cannot be read.
        """
        try:
            return self._extract(job, job.rows, tick)
        except SourceError:
            if len(job.rows) == 1:
                raise
        out = Converted(job.video)  # one clip's frames may be missing while the others' are there
        for row, clip_id in zip(job.rows, job.clip_ids, strict=True):
            try:
                one = self._extract(job, (row,), tick)
                out.clips += one.clips
                out.frames += one.frames
            except SourceError as error:
                out.refused.append((clip_id, 'frames that its video lacks', str(error)))
        return out

    def _extract(self, job: VideoJob, rows: Sequence[int], tick: Callable[[], None]) -> Converted:
        clips = [self.store[row] for row in rows]
        layout, offsets = self.store.body_layout, range(self.grid.num_offsets)
        regions = [
            ClipRegions(self.grid, c.body_pixel, c.body_score > 0, layout, c.image_size)
            for c in clips
        ]
        makers = [None if places.empty else GridMaker(places, offsets) for places in regions]
        wanted: dict[int, list[tuple[GridMaker, int]]] = {}
        for clip, maker in zip(clips, makers, strict=True):
            for t in maker.wanted if maker else ():
                wanted.setdefault(int(clip.frame_index[t]), []).append((maker, t))
        frames = read_frames(self.videos / job.video, wanted, job.readers) if wanted else ()
        for number, image in frames:
            for maker, t in wanted[number]:
                maker.add(t, image)
            tick()
        out = Converted(job.video, frames=len(wanted))
        for clip, maker in zip(clips, makers, strict=True):
            if maker is None:
                mask = self.grid.empty()[1]
                grids, encoded = [(None, mask)] * len(offsets), [(b'', b'')] * len(offsets)
            else:
                grids = maker.grids()
                encoded = [encode(rgb, self.quality) for rgb, _ in grids]
            masks = np.stack([mask for _, mask in grids])
            out.clips.append(ClipGrids(clip.clip_id, encoded, masks))
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
    """Cuts the grids of all clips of a store for all offsets. It continues after an interruption.

    Args:
        videos: Folder of the videos; they are found by ``VideoFolder``.
        store: The clip store, with ``body_pixel``.
        out: The region store to write or continue.
        grid, quality: The grid to cut, and its JPEG quality.
        workers: Processes; 0 works in this one, without a guard against hanging.
        timeout: Seconds without a frame after which a video is refused.

    Returns:
        The report. Refused clips are also listed in ``out/refused.json``.

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
        held = set(writer.clip_ids)
        todo = [job for job in jobs if not set(job.clip_ids) <= held]
        report.skipped = sum(len(set(job.clip_ids) & held) for job in jobs)
        build = partial(RegionWorker, Path(videos), Path(store), grid, quality)
        gather(
            run_videos(build, todo, workers, timeout, lambda job: job.clip_ids),
            writer,
            report,
            add=lambda clip: writer.add(clip.clip_id, clip.grids, clip.masks),
            held=held,
        )
    write_refused(Path(out), report)
    cut = RegionStore(out)
    shares = ', '.join(f'{part} {share:.0%}' for part, share in cut.shares.items())
    report.notes.append(
        f'cells in the picture: {shares}' if len(cut) else 'the region store is empty'
    )
    return report
