"""Reads the frames of a video with decord or PyAV, so that both give the same frames.

decord repeats the last image for every frame that it cannot decode. So its number of frames is
compared with the packets of the file and, if two consecutive images are equal, with the number of
frames that PyAV decodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..errors import SourceError
from ..io.packages import how_to_install, is_installed

#: Frames that a header may announce for each that is there, before decord is asked to read it.
_MOST_TIMES = 100


@dataclass(frozen=True)
class VideoInfo:
    """The facts in the header of a video file.

    Args:
        frames: Number of frames, 0 if the file does not contain it; it may be wrong.
        fps: Frames per second, 0 if unknown.
        announced: Number of frames that the header announces, 0 if unknown. A file that was cut off
            has fewer.
    """

    frames: int
    fps: float
    announced: int = 0

    def is_cut_off_at(self, frames: int) -> bool:
        """Whether so many frames are clearly fewer than announced: by three or more, and by 5 %."""
        return frames < self.announced - max(2, 0.05 * self.announced)


#: Reader → the package that it needs, best first.
MODULES = {'decord': 'decord', 'pyav': 'av'}


def available_readers() -> list[str]:
    """The readers that are installed, best first."""
    return [name for name, module in MODULES.items() if is_installed(module)]


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
    """A decord reader whose number of frames agrees with the packets of the file."""
    import decord

    shown = None
    if 'pyav' in available_readers():
        file = Path(path).stat()
        shown, announced = _shown(path, file.st_size, file.st_mtime_ns)
        if announced > _MOST_TIMES * (shown + 1):
            # decord makes a table of so many frames, and ends the process where it finds no memory.
            raise _repeats(path, shown, announced)
    try:
        video = decord.VideoReader(path, num_threads=1)
        count = len(video)
    except Exception as error:  # decord raises several kinds, all of them about this file
        raise _broken(path, 'decord', error) from None
    if shown is not None and shown < count:
        raise _repeats(path, shown, count)
    return video, count


def _open_decord(path: str, state: Any) -> tuple[VideoInfo, Iterator]:
    video, count = _decord(path)

    def frames() -> Iterator[tuple[int, np.ndarray]]:
        # `next` is used in place of an index, because an index seeks. Seeking is slow and fails if
        # the header is wrong.
        last, held = None, []
        still = 'pyav' not in available_readers()  # whether an equal image may be a repeated one
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
            for number in held:  # another image follows, so the scene stood still
                yield number, last
            held, last = [], image
            yield i, image
        state.lost = len(held)

    announced = 0
    if 'pyav' in available_readers():
        file = Path(path).stat()
        announced = _shown(path, file.st_size, file.st_mtime_ns)[1]
    return VideoInfo(count, float(video.get_avg_fps()), announced), frames()


def _repeats(path: str, decoded: int, count: int) -> SourceError:
    return SourceError(
        path,
        f'{decoded} frames where decord counts {count} and repeats the last picture',
        'frames that can be decoded',
        f'read it with PyAV ({how_to_install("av")})',
    )


def _check_decoded(path: str, count: int) -> None:
    """Raises an error unless all frames that decord counts can be decoded."""
    decoded = sum(1 for _ in _decode(path, []))
    if decoded < count:
        raise _repeats(path, decoded, count)


class _Packets:
    """The packets of a video file, read without decoding.

    Attributes:
        times: Sorted time stamps of the frames of the video, without those that an edit list of a
            trimmed video removes.
        cut: Number of frames that the edit list removes.
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


@lru_cache(maxsize=65536)
def _shown(path: str, size: int, changed: int) -> tuple[int, int]:
    """Number of frames of the video, and the number that its header announces. They are cached,
    since clips of one video are read one after another.
    """
    packets = _Packets(path)
    return len(packets.times), packets.announced


def _decode(path: str, failed: list) -> Iterator:
    """PyAV's decoded frames in order of time; errors of packets are added to ``failed``."""
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


def _open_pyav(path: str, state: Any) -> tuple[VideoInfo, Iterator]:
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
            # the rank of the time stamp, so that frames after a lost one keep their numbers
            if failed:
                number = max(number_at.get(frame.pts, number), number)
            turns = round(getattr(frame, 'rotation', 0) / 90) % 4
            count += 1
            yield number, np.ascontiguousarray(np.rot90(frame.to_ndarray(format='rgb24'), turns))
        state.lost = packets.cut + max(len(failed), number + 1 - count)

    announced = packets.announced
    return VideoInfo(announced or len(packets.times), fps, announced), frames()


def _pick_decord(path: str, numbers: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    # A new reader each time: a used one gives a wrong last frame for MPEG-4 in avi.
    video, count = _decord(path)
    _check_count(path, count, numbers)
    last, checked = None, 'pyav' not in available_readers()
    for number in numbers:
        try:
            # It decodes the frames in between, and seeks only if there is a key frame between.
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
    number = -1
    for number, image in _open_pyav(path, SimpleNamespace())[1]:
        if number in wanted:
            wanted.remove(number)
            yield number, image
        if not wanted:
            return
    _check_count(path, number + 1, numbers)
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


#: Reader to its function that opens a video: (path, object whose ``lost`` is set at the end) to
#: ``VideoInfo`` and an iterator of (frame number, image).
OPEN = {'decord': _open_decord, 'pyav': _open_pyav}
#: Reader to its function that picks frames: (path, rising frame numbers) to an iterator of (frame
#: number, image).
PICK = {'decord': _pick_decord, 'pyav': _pick_pyav}
