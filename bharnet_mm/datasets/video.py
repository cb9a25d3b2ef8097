"""Finding videos and reading each once, in order."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, SourceError

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


def list_videos(folder: Path) -> list[str]:
    """Videos below a folder, as sorted relative paths.

    Raises:
        SourceError: No such folder, or no video in it.
    """
    if not folder.is_dir():
        raise SourceError(str(folder), 'no folder', 'a folder of videos', 'correct the path')
    found = (path for path in folder.rglob('*') if path.suffix.lower() in SUFFIXES)
    names = sorted(path.relative_to(folder).as_posix() for path in found if path.is_file())
    if not names:
        raise SourceError(
            str(folder), 'no video', f'files {", ".join(SUFFIXES)}', 'correct the path'
        )
    return names


class VideoFolder:
    """Finds the videos of clips below a folder.

    A clip's video is looked for at its place below the folder, then by its name anywhere below it, then by
    its name with another ending (videos that were compressed again). The folder is listed at the first one
    that is not at its place.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._places: dict[str, list[str]] | None = None

    def find(self, video: str, clip_id: str = '') -> list[str]:
        """Relative paths of the videos that it may be: one if all is well.

        Args:
            video: The clip's ``video``.
            clip_id: Taken for the name where that is empty.

        Raises:
            SourceError: No such folder, or no video in it.
        """
        if video and (self.folder / video).is_file():
            return [video]
        if self._places is None:
            self._places = {}
            for name in list_videos(self.folder):
                path = Path(name)
                for key in {name, path.name, path.stem, name[: name.rindex('.')]}:
                    self._places.setdefault(key, []).append(name)
        keys = (video, Path(video).name, Path(video).stem) if video else (clip_id,)
        return next((self._places[key] for key in keys if key in self._places), [])


def read_frames(
    path: str | Path, numbers: Iterable[int], readers: Iterable[str] | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Some frames of a video in one pass: in rising order, each once.

    Args:
        path: The file.
        numbers: Frame numbers counted from 0, in any order.
        readers: See ``open_video``; the next one takes over where one fails. Defaults to those installed.

    Yields:
        Frame number and RGB picture ``(H, W, 3)`` uint8.

    Raises:
        SourceError: No such file, no reader can open it, it breaks off, or it has fewer frames.
        ConfigError: No reader is installed.
    """
    todo = sorted({int(number) for number in numbers})
    readers = available_readers() if readers is None else list(readers)
    if not readers:
        raise ConfigError(
            'reading videos', 'neither decord nor PyAV', 'one of them', 'pip install decord, or av'
        )
    if not Path(path).is_file():
        raise SourceError(str(path), 'no such file', 'a video', 'correct the path')
    for reader in readers:
        pick = {'decord': _pick_decord, 'pyav': _pick_pyav}[reader]
        try:
            for number, image in pick(str(path), list(todo)):
                yield number, image
                todo.remove(number)
            return
        except SourceError:
            if reader == readers[-1]:
                raise


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


def _pick_decord(path: str, numbers: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    import decord

    # A new reader each time: a used one gives a wrong last frame for MPEG-4 in avi.
    try:
        video = decord.VideoReader(path, num_threads=1)
        count = len(video)
    except Exception as error:
        raise _broken(path, 'decord', error) from None
    _check_count(path, count, numbers)
    for number in numbers:
        try:
            # Going forward it decodes on; it seeks only where a key frame lies between.
            image = video[number].asnumpy()
        except Exception as error:
            raise _broken(path, 'decord', error, number) from None
        yield number, image


def _pick_pyav(path: str, numbers: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    wanted, count = set(numbers), 0
    for number, image in enumerate(_open_pyav(path)[1]):
        count += 1
        if number in wanted:
            yield number, image
        if number == numbers[-1]:
            return
    _check_count(path, count, numbers)


def _check_count(path: str, count: int, numbers: list[int]) -> None:
    if numbers and numbers[-1] >= count:
        raise SourceError(
            path,
            f'{count} frames',
            f'at least {numbers[-1] + 1}, as the clip has a frame {numbers[-1]}',
            'check that this is the video that the clip was made from',
        )
