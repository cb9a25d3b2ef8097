"""Writes the videos of the synthetic sample."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2

from ...errors import SourceError, WriteError
from ...io.process import worker_pool
from .rendering import VIDEO_SIZE, draw_scene
from .sample import FPS, SyntheticSample


def write_videos(
    folder: str | os.PathLike, sample: SyntheticSample, workers: int | None = None
) -> None:
    """Renders every clip to `folder / clip.video`: MPEG-4, 480 x 270, one frame for each frame of
    the clip.

    Args:
        folder (str | PathLike): Made if needed; videos in it are replaced.
        sample (SyntheticSample): The clips.
        workers (int | None): Number of processes; by default one for each core, 0 works in this
            one.

    Raises:
        SourceError: OpenCV cannot write such a video here.
        WriteError: The disk is full.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clips = [(i, r) for i in range(len(sample.gestures)) for r in range(sample.clips_per_class)]
    write = partial(_write_video, folder, sample)
    if workers == 0:
        for clip in clips:
            write(clip)
        return
    # Processes are not forked, since libraries may have started threads.
    context = multiprocessing.get_context('spawn')
    count = workers or os.cpu_count()
    with worker_pool(count, context) as pool:
        # Not by map: it takes back what waits where the block ends early, over which the pool
        # stumbles.
        for written in [pool.submit(write, clip) for clip in clips]:
            written.result()


def _write_video(folder: Path, sample: SyntheticSample, clip: Sequence[int]) -> None:
    cv2.setNumThreads(1)
    target = folder / sample.video(*clip)
    # OpenCV neither replaces a file as a whole nor says that the disk is full.
    path = target.with_name(f'.{target.stem}.partial{target.suffix}')
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), FPS, VIDEO_SIZE)
    if not video.isOpened():
        raise SourceError(
            str(target),
            'an OpenCV that cannot write MPEG-4 there',
            'a writable folder and an OpenCV with FFmpeg',
            'pip install opencv-python',
        )
    frames = 0
    for image in draw_scene(sample.scene(*clip)):
        video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        frames += 1
    video.release()
    written = int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))
    if written != frames:
        path.unlink(missing_ok=True)
        raise WriteError(
            str(target),
            f'{written} of {frames} frames on the disk',
            'all of them',
            'free some space',
        )
    os.replace(path, target)
