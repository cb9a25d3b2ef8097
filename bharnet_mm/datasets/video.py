"""Finds videos and reads each once in order. If a reader fails, the next one continues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import ConfigError, SourceError
from ..io.guard import reading
from ..io.listing import Unusable, everything_below
from ..io.names import same_form
from ..io.packages import check_installed, how_to_install
from .video_readers import MODULES, OPEN, PICK, VideoInfo, available_readers

SUFFIXES = tuple(
    '.3g2 .3gp .asf .avi .divx .f4v .flv .gif .m2ts .m4v .mjpeg .mkv .mov .mp4 .mpeg .mpg .mts '
    '.mxf .ogv .qt '
    '.rm .rmvb .ts .vob .webm .wmv .y4m'.split()
)


def list_videos(
    folder: Path,
    others: list[str] | None = None,
    unusable: Unusable = lambda path, reason: None,
) -> list[str]:
    """Videos below a folder, as sorted relative paths. Hidden files are ignored.

    Args:
        folder: The folder.
        others: List to which the relative paths of files are added whose ending is not that of a
            video.
        unusable: Is told what is neither a file nor a folder, see :mod:`bharnet_mm.io.listing`.

    Raises:
        SourceError: No such folder, or no video in it.
    """
    if not folder.is_dir():
        raise SourceError(str(folder), 'no folder', 'a folder of videos', 'correct the path')
    with reading(folder, 'a folder of videos', 'allow reading it'):
        found = everything_below(folder, unusable).files
    names = sorted(path.relative_to(folder).as_posix() for path in found)
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

    A clip's video is searched at its path below the folder, then by its name anywhere below it,
    then by its name with another ending (videos that were compressed again). The folder is listed
    when the first video is not found at its path. The two Unicode forms of an accent are treated as
    equal.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._places: dict[str, list[str]] | None = None

    def find(self, video: str, clip_id: str = '') -> list[str]:
        """Relative paths of the videos that match; normally exactly one.

        Args:
            video: The clip's ``video``.
            clip_id: Used as the name if ``video`` is empty.

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
    """The frames of a video in order, RGB ``(H, W, 3)`` uint8.

    If a reader fails, the next one continues with the following frame.

    Attributes:
        number: Number of the last frame, counted from 0 in the order of time. Frames that cannot be
            decoded are left out, but their numbers are counted.
        lost: Number of frames so far that are in the file but cannot be decoded.
        reader: Name of the current reader.
    """

    def __init__(self, path: str, readers: Sequence[str]) -> None:
        self.path, self.readers = path, list(readers)
        self.number = -1
        self.lost = 0
        self._open()

    def _open(self) -> None:
        """Opens the video with the first reader that can open it."""
        while True:
            self.reader = self.readers[0]
            try:
                self.info, self._numbered = OPEN[self.reader](self.path, self)
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
    """Opens a video for reading all frames in order.

    Args:
        path: The file.
        readers: ``decord``, ``pyav``, or several, best first. Defaults to those installed.

    Returns:
        The facts in the file's header, and the frames that can be decoded.

    Raises:
        SourceError: No reader can open the file; while iterating, no reader can continue.
        ConfigError: The reader is unknown, or none is installed.
    """
    readers = check_readers(readers)
    frames = VideoFrames(_checked(path), readers)
    return frames.info, frames


def read_frames(
    path: str | Path, numbers: Iterable[int], readers: str | Sequence[str] | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields some frames of a video in one pass, in ascending order and each once.

    Args:
        path: The file.
        numbers: Frame numbers counted from 0, in any order.
        readers: See ``open_video``; if one fails, the next one continues.

    Yields:
        Frame number and RGB image ``(H, W, 3)`` uint8.

    Raises:
        SourceError: The file does not exist, no reader can open or continue it, or it lacks one of
            the frames.
        ConfigError: No reader is installed.
    """
    todo = sorted({int(number) for number in numbers})
    readers, path = check_readers(readers), _checked(path)
    for reader in readers:
        try:
            for number, image in PICK[reader](path, list(todo)):
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


def check_readers(readers: str | Sequence[str] | None = None) -> list[str]:
    """The readers to try, best first: those given, else all that are installed.

    Raises:
        ConfigError: None is installed, or one that is given is unknown or not installed.
    """
    have = available_readers()
    readers = have if readers is None else [readers] if isinstance(readers, str) else list(readers)
    if not readers:
        raise ConfigError(
            'reading videos',
            'no decord and no PyAV',
            'one of them',
            f'{how_to_install("decord")}, or av',
        )
    for reader in readers:
        if reader not in OPEN:
            raise ConfigError(
                'reader', repr(reader), f'one of {sorted(OPEN)}', 'choose one of them'
            )
        if reader not in have:
            check_installed(f'reader {reader}', MODULES[reader])
    return readers
