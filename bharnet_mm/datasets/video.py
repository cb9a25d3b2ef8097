"""Finding videos and reading each once, in order.

decord repeats the last picture for every frame that it cannot decode. So its count is compared with the
container's packets and, where two pictures in a row are the same, with the number of frames that PyAV decodes;
where they differ, PyAV reads the video. Both readers then give the same frames.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, SourceError
from ..io.names import is_shown, same_form

SUFFIXES = tuple(
    '.3g2 .3gp .asf .avi .divx .f4v .flv .gif .m2ts .m4v .mjpeg .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .qt '
    '.rm .rmvb .ts .vob .webm .wmv .y4m'.split()
)


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


def list_videos(folder: Path, others: list[str] | None = None) -> list[str]:
    """Videos below a folder, as sorted relative paths. Hidden files are left alone.

    Args:
        folder: The folder.
        others: Gets the relative paths of the files that are no videos by their endings.

    Raises:
        SourceError: No such folder, or no video in it.
    """
    if not folder.is_dir():
        raise SourceError(str(folder), 'no folder', 'a folder of videos', 'correct the path')
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if is_shown(path, folder) and path.is_file()
    )
    videos = [name for name in names if name.lower().endswith(SUFFIXES)]
    if others is not None:
        others += sorted(set(names) - set(videos))
    if not videos:
        raise SourceError(
            str(folder), 'no video', f'files {", ".join(SUFFIXES)}', 'correct the path'
        )
    return videos


class VideoFolder:
    """Finds the videos of clips below a folder.

    A clip's video is looked for at its place below the folder, then by its name anywhere below it, then by
    its name with another ending (videos that were compressed again). The folder is listed at the first one
    that is not at its place. Names count as the same in both unicode forms of their accents.

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
                path = Path(same_form(name))
                whole = path.as_posix()
                for key in {whole, path.name, path.stem, whole[: whole.rindex('.')]}:
                    self._places.setdefault(key, []).append(name)
        path = Path(same_form(video))
        keys = (path.as_posix(), path.name, path.stem) if video else (same_form(clip_id),)
        return next((self._places[key] for key in keys if key in self._places), [])


class VideoFrames(Iterator[np.ndarray]):
    """The pictures of a video, one after the other, RGB ``(H, W, 3)`` uint8.

    Where a reader breaks off, the next one goes on with the frame that follows.

    Attributes:
        number: Of the frame given last, counted from 0 in the order of time. Frames that cannot be decoded
            keep their numbers and do not come.
        lost: Frames so far that the container announces and that cannot be decoded.
        reader: Which is reading.
    """

    def __init__(self, path: str, readers: Sequence[str]) -> None:
        self.path, self.readers = path, list(readers)
        self.number = -1
        self.lost = 0
        self._open()

    def _open(self) -> None:
        """Opens the video with the first reader that can; drops those that cannot."""
        while True:
            self.reader = self.readers[0]
            try:
                self.info, self._numbered = _OPEN[self.reader](self.path, self)
                return
            except SourceError:
                if len(self.readers) == 1:
                    raise
                del self.readers[0]

    def __iter__(self) -> VideoFrames:
        return self

    def __next__(self) -> np.ndarray:
        while True:
            try:
                number, image = next(self._numbered)
            except SourceError:
                if len(self.readers) == 1:
                    raise
                del self.readers[0]
                self.lost = 0
                self._open()
                continue
            if number > self.number:
                self.number = number
                return image


def open_video(
    path: str | Path, readers: str | Sequence[str] | None = None
) -> tuple[VideoInfo, VideoFrames]:
    """The frames of a video, one after the other, without going back.

    Args:
        path: The file.
        readers: ``decord``, ``pyav``, or several, best first. Defaults to those installed.

    Returns:
        What the container says, and the frames that can be decoded.

    Raises:
        SourceError: The file is no video that a reader can open; also while iterating, where it breaks off.
        ConfigError: Unknown reader, or none is installed.
    """
    readers = _check_readers(readers)
    frames = VideoFrames(_checked(path), readers)
    return frames.info, frames


def read_frames(
    path: str | Path, numbers: Iterable[int], readers: str | Sequence[str] | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Some frames of a video in one pass: in rising order, each once.

    Args:
        path: The file.
        numbers: Frame numbers counted from 0, in any order.
        readers: See ``open_video``; the next one takes over where one fails.

    Yields:
        Frame number and RGB picture ``(H, W, 3)`` uint8.

    Raises:
        SourceError: No such file, no reader can open it, it breaks off, or it lacks one of the frames.
        ConfigError: No reader is installed.
    """
    todo = sorted({int(number) for number in numbers})
    readers, path = _check_readers(readers), _checked(path)
    for reader in readers:
        pick = {'decord': _pick_decord, 'pyav': _pick_pyav}[reader]
        try:
            for number, image in pick(path, list(todo)):
                yield number, image
                todo.remove(number)
            return
        except SourceError:
            if reader == readers[-1]:
                raise


def _checked(path: str | Path) -> str:
    if not Path(path).is_file():
        raise SourceError(str(path), 'no such file', 'a video', 'correct the path')
    return str(path)


def _check_readers(readers: str | Sequence[str] | None) -> list[str]:
    have = available_readers()
    readers = have if readers is None else [readers] if isinstance(readers, str) else list(readers)
    if not readers:
        raise ConfigError(
            'reading videos', 'neither decord nor PyAV', 'one of them', 'pip install decord, or av'
        )
    for reader in readers:
        if reader not in _OPEN:
            raise ConfigError(
                'reader', repr(reader), f'one of {sorted(_OPEN)}', 'choose one of them'
            )
        if reader not in have:
            package = {'decord': 'decord', 'pyav': 'av'}[reader]
            raise ConfigError(
                f'reader {reader}', 'it is not installed', package, f'pip install {package}'
            )
    return readers


def _broken(path: str, reader: str, error: Exception, frame: int | None = None) -> SourceError:
    where = path if frame is None else f'{path}, frame {frame}'
    detail = ' '.join(str(error).split()) or type(error).__name__
    return SourceError(
        where,
        f'what {reader} cannot read ({detail[:200]})',
        'a video',
        'check that it plays; ffmpeg -i FILE -c:v libx264 NEW.mp4 mends many',
    )


def _decord(path: str):
    """A decord reader whose count the container's packets bear out."""
    import decord

    try:
        video = decord.VideoReader(path, num_threads=1)
        count = len(video)
    except Exception as error:  # decord raises several kinds, all of them about this file
        raise _broken(path, 'decord', error) from None
    if 'pyav' in available_readers() and len(_Packets(path).times) < count:
        raise _repeats(path, len(_Packets(path).times), count)
    return video, count


def _open_decord(path: str, state: VideoFrames) -> tuple[VideoInfo, Iterator]:
    video, count = _decord(path)

    def frames() -> Iterator[tuple[int, np.ndarray]]:
        # `next`, not an index: an index seeks, and seeking is slow and goes wrong where the container lies.
        last, held = None, []
        still = 'pyav' not in available_readers()  # whether the same picture again may be no frame
        checked = still
        for i in range(count):
            try:
                image = video.next().asnumpy()
            except StopIteration:
                break
            except Exception as error:
                raise _broken(path, 'decord', error, i) from None
            same = last is not None and np.array_equal(image, last)
            if same and not checked:
                _check_decoded(path, count)
                checked = True
            if same and still:
                held.append(i)
                continue
            for number in held:  # another picture follows: the scene stood still
                yield number, last
            held, last = [], image
            yield i, image
        state.lost = len(held)

    return VideoInfo(count, float(video.get_avg_fps())), frames()


def _repeats(path: str, decoded: int, count: int) -> SourceError:
    return SourceError(
        path,
        f'{decoded} frames where decord counts {count} and repeats the last picture',
        'frames that can be decoded',
        'read it with PyAV (pip install av)',
    )


def _check_decoded(path: str, count: int) -> None:
    """Whether all frames that decord counts can be decoded."""
    decoded = sum(1 for _ in _decode(path, []))
    if decoded < count:
        raise _repeats(path, decoded, count)


class _Packets:
    """What the container says of the frames, without decoding any.

    Attributes:
        times: Time stamps of the frames that belong to the video, sorted; those that an edit list of a
            trimmed video cuts off are not among them.
        cut: How many it cuts off.
    """

    def __init__(self, path: str) -> None:
        import av

        self.times, self.cut = [], 0
        try:
            with av.open(path) as container:
                stream = container.streams.video[0]
                self.announced = stream.frames
                for packet in container.demux(stream):
                    if not packet.size:
                        continue
                    if packet.is_discard:
                        self.cut += 1
                    else:
                        self.times.append(packet.pts if packet.pts is not None else packet.dts)
        except Exception as error:
            raise _broken(path, 'PyAV', error) from None
        if None in self.times:
            self.times = list(range(len(self.times)))
        self.times.sort()


def _decode(path: str, failed: list) -> Iterator:
    """The decoded frames of PyAV in the order of time; errors of single packets go to ``failed``."""
    import av

    try:
        container = av.open(path)
        stream = container.streams.video[0]
    except Exception as error:
        raise _broken(path, 'PyAV', error) from None
    stream.thread_type = 'NONE'
    count = 0
    with container:
        try:
            for packet in container.demux(stream):
                try:
                    decoded = packet.decode()
                except av.error.InvalidDataError as error:
                    failed.append(error)
                    continue
                count += len(decoded)
                yield from decoded
        except av.error.FFmpegError as error:
            raise _broken(path, 'PyAV', error, count) from None
    if not count:
        raise _broken(path, 'PyAV', failed[0] if failed else ValueError('no frame'))


def _open_pyav(path: str, state: VideoFrames) -> tuple[VideoInfo, Iterator]:
    import av

    packets = _Packets(path)
    with av.open(path) as container:
        fps = float(container.streams.video[0].average_rate or 0)
    number_at = {time: i for i, time in enumerate(packets.times)}

    def frames() -> Iterator[tuple[int, np.ndarray]]:
        failed: list[Exception] = []
        number, count = -1, 0
        for frame in _decode(path, failed):
            number += 1
            if failed:  # the time stamp's rank, so that a frame keeps its number after a lost one
                number = max(number_at.get(frame.pts, number), number)
            turns = round(getattr(frame, 'rotation', 0) / 90) % 4
            count += 1
            yield number, np.ascontiguousarray(np.rot90(frame.to_ndarray(format='rgb24'), turns))
        state.lost = packets.cut + max(len(failed), number + 1 - count)

    return VideoInfo(packets.announced or len(packets.times), fps), frames()


_OPEN = {'decord': _open_decord, 'pyav': _open_pyav}


def _pick_decord(path: str, numbers: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    # A new reader each time: a used one gives a wrong last frame for MPEG-4 in avi.
    video, count = _decord(path)
    _check_count(path, count, numbers)
    last, checked = None, 'pyav' not in available_readers()
    for number in numbers:
        try:
            # Going forward it decodes on; it seeks only where a key frame lies between.
            image = video[number].asnumpy()
        except Exception as error:
            raise _broken(path, 'decord', error, number) from None
        if not checked and last is not None and np.array_equal(image, last):
            _check_decoded(path, count)
            checked = True
        last = image
        yield number, image


def _pick_pyav(path: str, numbers: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    wanted = set(numbers)
    frames = VideoFrames(path, ['pyav'])
    for image in frames:
        if frames.number in wanted:
            wanted.remove(frames.number)
            yield frames.number, image
        if not wanted:
            return
    _check_count(path, frames.number + 1, numbers)
    raise SourceError(
        path,
        f'frames {sorted(wanted)[:5]} that cannot be decoded',
        'frames of the clip',
        'leave the clip out, or mend the video',
    )


def _check_count(path: str, count: int, numbers: list[int]) -> None:
    if numbers and numbers[-1] >= count:
        raise SourceError(
            path,
            f'{count} frames',
            f'at least {numbers[-1] + 1}, as the clip has a frame {numbers[-1]}',
            'check that this is the video that the clip was made from',
        )
