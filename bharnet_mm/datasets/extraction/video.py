"""Reading a video once, in order."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ConfigError, SourceError

SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')


@dataclass(frozen=True)
class VideoInfo:
    """What a container says of itself.

    Args:
        frames: Number of frames, 0 where the container does not say; may be wrong.
        fps: Frames per second, 0 where unknown.
    """

    frames: int
    fps: float


def available_readers() -> list[str]:
    """The readers that are installed, best first."""
    modules = {'decord': 'decord', 'pyav': 'av'}
    return [name for name, module in modules.items() if importlib.util.find_spec(module)]


def open_video(path: str | Path, reader: str = 'decord') -> tuple[VideoInfo, Iterator[np.ndarray]]:
    """The frames of a video, one after the other, without going back.

    Args:
        path: The file.
        reader: ``decord`` or ``pyav``.

    Returns:
        What the container says, and the frames as RGB ``(H, W, 3)`` uint8. The count of frames that come
        may differ from what the container says; it is the caller's to compare.

    Raises:
        SourceError: The file is no video that this reader can open; also while iterating, where it breaks off.
        ConfigError: Unknown reader, or it is not installed.
    """
    readers = {'decord': _open_decord, 'pyav': _open_pyav}
    if reader not in readers:
        raise ConfigError('reader', repr(reader), f'one of {sorted(readers)}', 'choose one of them')
    if reader not in available_readers():
        package = {'decord': 'decord', 'pyav': 'av'}[reader]
        raise ConfigError(
            f'reader {reader}', 'it is not installed', package, f'pip install {package}'
        )
    if not Path(path).is_file():
        raise SourceError(str(path), 'no such file', 'a video', 'correct the path')
    return readers[reader](str(path))


def _broken(path: str, reader: str, error: Exception, frame: int | None = None) -> SourceError:
    where = path if frame is None else f'{path}, frame {frame}'
    detail = ' '.join(str(error).split()) or type(error).__name__
    return SourceError(
        where,
        f'what {reader} cannot read ({detail[:200]})',
        'a video',
        'check that it plays; ffmpeg -i FILE -c:v libx264 NEW.mp4 mends many',
    )


def _open_decord(path: str) -> tuple[VideoInfo, Iterator[np.ndarray]]:
    import decord

    try:
        video = decord.VideoReader(path, num_threads=1)
        info = VideoInfo(len(video), float(video.get_avg_fps()))
    except Exception as error:  # decord raises several kinds, all of them about this file
        raise _broken(path, 'decord', error) from None

    def frames() -> Iterator[np.ndarray]:
        # `next`, not an index: an index seeks, and seeking is slow and goes wrong where the container lies.
        for i in range(info.frames):
            try:
                frame = video.next().asnumpy()
            except StopIteration:
                return
            except Exception as error:
                raise _broken(path, 'decord', error, i) from None
            yield frame

    return info, frames()


def _open_pyav(path: str) -> tuple[VideoInfo, Iterator[np.ndarray]]:
    import av

    try:
        container = av.open(path)
        stream = container.streams.video[0]
    except Exception as error:
        raise _broken(path, 'PyAV', error) from None
    stream.thread_type = 'NONE'

    def frames() -> Iterator[np.ndarray]:
        i = 0
        try:
            for frame in container.decode(stream):
                turns = round(getattr(frame, 'rotation', 0) / 90) % 4
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format='rgb24'), turns))
                i += 1
        except av.error.FFmpegError as error:
            raise _broken(path, 'PyAV', error, i) from None
        finally:
            container.close()

    return VideoInfo(stream.frames, float(stream.average_rate or 0)), frames()
