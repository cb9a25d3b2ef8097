"""Opens cameras, streams and video files with OpenCV."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from ..errors import SourceError

os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')  # quiet; read when the first source is opened


def open_capture(source: int | str) -> cv2.VideoCapture:
    """The opened source. A server that does not answer is given up after five seconds.

    Messages of OpenCV and FFmpeg about a source that does not open are not shown.

    Args:
        source: Number of a camera, address of a stream or path of a file.

    Raises:
        SourceError: It cannot be opened.
    """
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture()
        if isinstance(source, int):
            capture.open(source)
        else:
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 5000]
            capture.open(source, cv2.CAP_FFMPEG, limits)
    finally:
        logging.setLogLevel(level)
    if not capture.isOpened():
        raise _not_opened(source)
    return capture


def _not_opened(source: int | str) -> SourceError:
    if isinstance(source, int):
        fix = 'check that it is connected and that no other program uses it, or try another number'
        return SourceError(f'camera {source}', 'no camera that can be opened', 'a camera', fix)
    if '://' in source:
        fix = 'check the address, the network and that the server is running'
        return SourceError(source, 'no stream that can be opened', 'a video stream', fix)
    if not Path(source).exists():
        return SourceError(source, 'no such file', 'a video file', 'correct the path')
    return SourceError(
        source, 'a file that cannot be read as video', 'a video', 'convert it, e.g. to mp4'
    )
