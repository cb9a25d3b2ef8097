"""The ``.skeleton`` text of NTU RGB+D: Kinect v2 bodies, frame by frame.

::

    number of frames
    per frame   number of bodies
    per body    10 numbers: body id, clipped edges, left hand confidence, left hand state,
                right hand confidence, right hand state, restricted, lean x, lean y, tracking state
                number of joints (25)
    per joint   12 numbers: x y z (metres), depth x y, colour x y (pixels), orientation w x y z,
                tracking state (0 not tracked, 1 inferred, 2 tracked)

The files have some ``NaN``, body ids above 2 ** 53 (which a float cannot represent), bodies that
occur in some frames only, and frames without a body.
"""

import re
import warnings
from dataclasses import dataclass

import numpy as np

from ...errors import SourceError

NUM_JOINTS = 25
NUM_HEADER = 10
NUM_VALUES = 12  # of a joint
POSITION, DEPTH, COLOR, ORIENTATION, TRACKING = (
    slice(0, 3),
    slice(3, 5),
    slice(5, 7),
    slice(7, 11),
    11,
)

_FIX = 'unpack or download this file again, or add its name to the list given with --missing'
# what Microsoft's C library prints for a value that is not a finite number
_MS_NOT_FINITE = re.compile(rb'-?1\.#[A-Za-z]+\d*')


@dataclass(frozen=True)
class SkeletonText:
    """The bodies of one ``.skeleton`` file, in the order of the file (B of them over all frames).

    Attributes:
        num_frames (int): Frames of the clip, with and without bodies.
        frame (np.ndarray): Shape (B,) int32, the frame of each body.
        body_id (np.ndarray): Shape (B,) int64, the tracking id.
        header (np.ndarray): Shape (B, 9) float64, the other numbers of the body's header line.
        joints (np.ndarray): Shape (B, 25, 12) float64. NaN if the file says so.
    """

    num_frames: int
    frame: np.ndarray
    body_id: np.ndarray
    header: np.ndarray
    joints: np.ndarray


def parse_skeleton(data: bytes, where: str) -> SkeletonText:
    """Parses a ``.skeleton`` file.

    The structure is read line by line. The joints of the whole file are converted to numbers in one
    call.

    Args:
        data (bytes): Content of the file. Any line ending is accepted; empty lines are skipped.
        where (str): Name of the file, for error messages.

    Raises:
        SourceError: The text is empty, is cut off, continues after its last frame, has a count that
            is not a non-negative integer, another number of joints than 25, or a line with another
            number of values than its kind has.
    """
    lines = [line for line in data.splitlines() if line and not line.isspace()]
    walk = _Walk(data, lines, where)
    if not lines:
        raise SourceError(where, found='an empty file', expected='the number of frames', fix=_FIX)
    num_frames = walk.count('the number of frames')
    frame, headers, joint_lines = [], [], []
    try:
        for t in range(num_frames):
            for _ in range(walk.count('the number of bodies', t)):
                headers.append(walk.header(t))
                joint_lines += walk.joints(t)
                frame.append(t)
        walk.end(num_frames)
    except SourceError:
        # a lost or doubled line is noticed late, so the lines before may show the place
        _joints_one_by_one(joint_lines, frame, where)
        raise
    body_id, header = _headers(headers, where)
    return SkeletonText(
        num_frames,
        np.array(frame, dtype=np.int32),
        body_id,
        header,
        _joints(joint_lines, frame, where),
    )


class _Walk:
    """Steps through the lines and knows the place of an error."""

    def __init__(self, data: bytes, lines: list, where: str) -> None:
        self.data, self.lines, self.where, self.at = data, lines, where, 0

    def take(self, num: int, what: str, frame: int | None = None) -> list:
        taken = self.lines[self.at : self.at + num]
        self.at += num
        if len(taken) < num:
            self.at = len(self.lines)
            self.fail(f'the end of the file after {len(self.lines)} lines', what, frame)
        return taken

    def count(self, what: str, frame: int | None = None) -> int:
        line = self.take(1, what, frame)[0]
        try:
            value = int(line)
        except ValueError:
            value = -1
        if value < 0:
            self.fail(repr(_shorten(line)), f'{what}, a non-negative integer', frame)
        return value

    def header(self, frame: int) -> list:
        what = f'the {NUM_HEADER} numbers of a body'
        values = self.take(1, what, frame)[0].split()
        if len(values) != NUM_HEADER:
            self.fail(f'{len(values)} values', what, frame)
        return values

    def joints(self, frame: int) -> list:
        num = self.count('the number of joints', frame)
        if num != NUM_JOINTS:
            self.fail(f'{num} joints', f'{NUM_JOINTS}', frame)
        return self.take(NUM_JOINTS, f'{NUM_JOINTS} lines of joints', frame)

    def end(self, num_frames: int) -> None:
        more = len(self.lines) - self.at
        if more:
            self.at += 1
            self.fail(
                f'{more} line(s) after the last of {num_frames} frames', 'the end of the file'
            )

    def fail(self, found: str, expected: str, frame: int | None = None) -> None:
        real = [n for n, line in enumerate(self.data.splitlines(), 1) if line.strip()]
        place = f'{self.where}, line {real[self.at - 1]}' if self.at else self.where
        if frame is not None:
            place += f' (frame {frame})'
        raise SourceError(place, found=found, expected=expected, fix=_FIX)


def _shorten(text: bytes, limit: int = 60) -> str:
    text = text.decode('utf-8', 'replace').strip()
    return text if len(text) <= limit else text[: limit - 3] + '...'


def _headers(rows: list, where: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        body_id = np.array([int(row[0]) for row in rows], dtype=np.int64)
        header = np.array([row[1:] for row in rows], dtype=np.bytes_).astype(np.float64)
    except (ValueError, OverflowError):
        body_id, header = _headers_one_by_one(rows, where)
    return body_id, header.reshape(-1, NUM_HEADER - 1)


def _headers_one_by_one(rows: list, where: str) -> tuple[np.ndarray, np.ndarray]:
    body_id, header = np.empty(len(rows), dtype=np.int64), np.empty((len(rows), NUM_HEADER - 1))
    for n, row in enumerate(rows):
        try:
            body_id[n] = int(row[0])
            header[n] = [float(_MS_NOT_FINITE.sub(b'nan', value)) for value in row[1:]]
        except (ValueError, OverflowError):
            raise SourceError(
                where,
                found=f'a body with the header {_shorten(b" ".join(row))!r}',
                expected='an integer id and nine numbers',
                fix=_FIX,
            ) from None
    return body_id, header


def _joints(lines: list, frame: list, where: str) -> np.ndarray:
    """(B * 25) lines to (B, 25, 12)."""
    values = _numbers(b'\n'.join(lines))
    if values.size == len(lines) * NUM_VALUES:
        joints = values.reshape(-1, NUM_JOINTS, NUM_VALUES)
        # two lines can be wrong by opposite amounts: then something else stands in the last column
        state = joints[..., TRACKING]
        if ((state == 0) | (state == 1) | (state == 2)).all():
            return joints
    return _joints_one_by_one(lines, frame, where)


def _numbers(text: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        # numpy warns (older) or raises (newer) where the text stops being numbers; the caller sees
        # it by the size
        warnings.simplefilter('ignore', DeprecationWarning)
        try:
            return np.fromstring(text, dtype=np.float64, sep=' ')
        except ValueError:
            return np.empty(0)


def _joints_one_by_one(lines: list, frame: list, where: str) -> np.ndarray:
    """The slow way. It finds a wrong line, and accepts notations that the fast way does not."""
    out = np.empty((len(lines), NUM_VALUES))
    for n, line in enumerate(lines):
        place = f'{where}, frame {frame[n // NUM_JOINTS]}, joint {n % NUM_JOINTS + 1}'
        values = _MS_NOT_FINITE.sub(b'nan', line).split()
        if len(values) != NUM_VALUES:
            raise SourceError(
                place,
                found=f'{len(values)} values: {_shorten(line)!r}',
                expected=f'the {NUM_VALUES} numbers of a joint',
                fix=_FIX,
            )
        try:
            out[n] = [float(value) for value in values]
        except ValueError:
            raise SourceError(
                place, found=repr(_shorten(line)), expected=f'{NUM_VALUES} numbers', fix=_FIX
            ) from None
        if out[n, TRACKING] not in (0, 1, 2):
            raise SourceError(
                place,
                found=f'the tracking state {_shorten(values[TRACKING])}',
                expected='0 (not tracked), 1 (inferred) or 2 (tracked)',
                fix=_FIX,
            )
    return out.reshape(-1, NUM_JOINTS, NUM_VALUES)


def format_skeleton(skeleton: SkeletonText) -> bytes:
    """Writes the text of a :class:`SkeletonText`, seven significant digits as in the download."""
    out = [str(skeleton.num_frames)]
    order = np.argsort(skeleton.frame, kind='stable')
    starts = np.searchsorted(skeleton.frame[order], np.arange(skeleton.num_frames + 1))
    for t in range(skeleton.num_frames):
        bodies = order[starts[t] : starts[t + 1]]
        out.append(str(len(bodies)))
        for b in bodies:
            rest = ' '.join(f'{value:.7g}' for value in skeleton.header[b])
            out.append(f'{skeleton.body_id[b]} {rest}')
            out.append(str(len(skeleton.joints[b])))
            out += [' '.join(f'{value:.7g}' for value in joint) for joint in skeleton.joints[b]]
    return ('\n'.join(out) + '\n').encode()
