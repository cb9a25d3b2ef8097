"""Frames of one video by decord or by PyAV, so that both give the same ones.

decord repeats the last image for every frame that it cannot decode. So its count is compared with
the container's packets and, where two images in a row are the same, with the number of frames
that PyAV decodes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..errors import SourceError


@dataclass(frozen=True)
class VideoInfo:
    """What a container says of itself.

    Args:
        frames: Number of frames, 0 where the container does not say; may be wrong.
        fps: Frames per second, 0 if unknown.
    """

    frames: int
    fps: float


def available_readers() -> list[str]:
    """The readers that are installed, best first."""
    modules = {'decord': 'decord', 'pyav': 'av'}
    return [name for name, module in modules.items() if importlib.util.find_spec(module)]


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
    if 'pyav' in available_readers():
        file = Path(path).stat()
        shown = _shown(path, file.st_size, file.st_mtime_ns)
        if shown < count:
            raise _repeats(path, shown, count)
    return video, count


def _open_decord(path: str, state: Any) -> tuple[VideoInfo, Iterator]:
    video, count = _decord(path)

    def frames() -> Iterator[tuple[int, np.ndarray]]:
        # `next`, not an index: an index seeks, and seeking is slow and goes wrong where the
        # container lies.
        last, held = None, []
        still = 'pyav' not in available_readers()  # whether the same image again may be no frame
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
            for number in held:  # another image follows: the scene stood still
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
        times: Time stamps of the frames that belong to the video, sorted; those that an edit list
            of a trimmed video cuts off are not among them.
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


@lru_cache(maxsize=65536)
def _shown(path: str, size: int, changed: int) -> int:
    """Frames that the container shows; kept, as clips of one video are read one after the other."""
    return len(_Packets(path).times)


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
            if failed:  # the time stamp's rank, so that a frame keeps its number after a lost one
                number = max(number_at.get(frame.pts, number), number)
            turns = round(getattr(frame, 'rotation', 0) / 90) % 4
            count += 1
            yield number, np.ascontiguousarray(np.rot90(frame.to_ndarray(format='rgb24'), turns))
        state.lost = packets.cut + max(len(failed), number + 1 - count)

    return VideoInfo(packets.announced or len(packets.times), fps), frames()


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


#: Reader to what opens a video: (path, object whose ``lost`` is set at the end) to ``VideoInfo``
#: and an iterator of (frame number, image).
OPEN = {'decord': _open_decord, 'pyav': _open_pyav}
#: Reader to what picks frames: (path, rising frame numbers) to an iterator of (frame number,
#: image).
PICK = {'decord': _pick_decord, 'pyav': _pick_pyav}
