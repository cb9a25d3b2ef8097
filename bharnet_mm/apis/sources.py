"""Sources for the inferencer, as frames or clips."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.clip import Clip
from ..datasets.store import ClipStore
from ..datasets.video import SUFFIXES, check_readers, list_videos, open_video
from ..errors import ConfigError, SourceError
from ..io.listing import Unusable

_STREAM = re.compile(r'(rtsp|rtsps|http|https|rtmp|udp|tcp|srt)://', re.IGNORECASE)


@dataclass
class Video:
    """A sequence of frames.

    Attributes:
        name: Path, address or name.
        fps: Frames per second, 0 if unknown.
        frames: Number of frames, 0 if unknown or endless.
        open: Function that yields the RGB frames (H, W, 3) uint8 from the first one on.
        again: Whether ``open`` may be called more than once.
    """

    name: str
    fps: float
    frames: int
    open: Callable[[], Iterator[np.ndarray]]
    again: bool = True


@dataclass
class Clips:
    """Clips that need no estimator.

    Attributes:
        name: Name of the store, or of the clip.
        clips: The clips.
        store: Their store, which has layout and channels; None for a single clip.
    """

    name: str
    clips: Iterable[Clip]
    store: ClipStore | None = None


def read_source(source: Any, fps: float | None = None) -> Iterator[Video | Clips]:
    """Yields the videos and clips of a source, one at a time.

    Args:
        source: A video file, a folder of videos, a pattern with ``*``, a clip store, a ``Clip`` or
            ``ClipStore``, the number of a camera, the address of a stream, frames as an array
            (T, H, W, 3) uint8 in RGB or a list of such (H, W, 3), or a list of any of these.
        fps: Frames per second of frames given as arrays. Defaults to 30.

    Raises:
        BHaRNetError: The source is none of these, or does not exist.
    """
    if isinstance(source, Clip):
        yield Clips(source.clip_id, [source])
    elif isinstance(source, ClipStore):
        yield _store(source)
    elif isinstance(source, np.ndarray):
        yield _array(source, fps)
    elif isinstance(source, int) and not isinstance(source, bool):
        yield Video(f'camera {source}', 0.0, 0, lambda: _capture(source), again=False)
    elif isinstance(source, (str, os.PathLike)):
        yield from _path(os.fspath(source))
    elif isinstance(source, (list, tuple)):
        if source and all(isinstance(item, np.ndarray) and item.ndim == 3 for item in source):
            yield _frames(list(source), fps)
            return
        for item in source:
            yield from read_source(item, fps)
    else:
        raise _wrong(f'{type(source).__name__}')


def _wrong(found: str) -> ConfigError:
    return ConfigError(
        'source',
        found,
        'a video, a folder or pattern of videos, a clip store or Clip, a camera number, the '
        'address '
        'of a stream, frames (T, H, W, 3) uint8, or a list of these',
        'give one of these',
    )


def _path(source: str) -> Iterator[Video | Clips]:
    if _STREAM.match(source):
        yield Video(source, 0.0, 0, lambda: _capture(source), again=False)
    elif source.isdecimal() and not Path(source).exists():
        yield from read_source(int(source))
    elif (Path(source) / 'store.json').is_file():
        yield _store(ClipStore(source))
    else:
        yield from map(_video, videos_of(source))


def is_set_of_videos(source: Any) -> bool:
    """Whether a source is a folder of videos or a pattern of them."""
    if not isinstance(source, (str, os.PathLike)) or _STREAM.match(os.fspath(source)):
        return False
    if os.path.lexists(source):
        return os.path.isdir(source) and not (Path(source) / 'store.json').is_file()
    return glob.has_magic(os.fspath(source))


def videos_of(source: str, unusable: Unusable = lambda path, reason: None) -> list[str]:
    """Paths of the videos of a file, a folder or a pattern.

    Args:
        source: The path or the pattern.
        unusable: Is told what in a folder is neither a file nor a folder.

    Raises:
        SourceError: There is none.
    """
    if Path(source).is_dir():
        names = list_videos(Path(source), unusable=unusable)
        return [os.path.join(source, name) for name in names]
    if Path(source).is_file():
        return [source]
    if os.path.lexists(source) or not glob.has_magic(source):
        found = 'no such file or folder'
        if os.path.exists(source):
            found = 'a pipe or a device, not a file'
        raise SourceError(source, found, 'a video', 'correct the path')
    names = sorted(n for n in glob.glob(source, recursive=True) if n.lower().endswith(SUFFIXES))
    if not names:
        raise SourceError(source, 'no video that matches', 'some', 'correct the pattern')
    return names


def _store(store: ClipStore) -> Clips:
    return Clips(str(store.path), (store[i] for i in range(len(store))), store)


def _video(path: str) -> Video:
    readers = check_readers()
    for reader in readers:
        try:
            info, first = open_video(path, reader)
            break
        except SourceError:
            if reader == readers[-1]:
                raise
    once = [first]  # the first pass uses the reader that is open already

    def frames() -> Iterator[np.ndarray]:
        return once.pop() if once else open_video(path, reader)[1]

    return Video(path, info.fps, info.frames, frames)


def _array(source: np.ndarray, fps: float | None) -> Video:
    if source.ndim != 4:
        raise _wrong(f'an array {source.shape} of {source.dtype}')
    return _frames(source, fps)


def _frames(source: Any, fps: float | None) -> Video:
    bad = [f'{f.dtype} {f.shape}' for f in source if f.dtype != np.uint8 or f.shape[2:] != (3,)]
    if bad or not len(source):
        raise _wrong(f'a frame of {bad[0]}' if bad else 'no frames')
    return Video('frames', 30.0 if fps is None else fps, len(source), lambda: iter(source))


def _capture(source: int | str) -> Iterator[np.ndarray]:
    """Frames of a camera or a stream, until it ends."""
    import cv2

    from .capture import open_capture

    capture = open_capture(source)
    try:
        while True:
            there, frame = capture.read()
            if not there:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
