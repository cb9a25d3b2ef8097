"""PKU-MMD: long recordings of Kinect v2 skeletons with labelled instances, cut into clips.

A skeleton file has one row per frame of 3 x 25 x 2 numbers: x y z of the 25 joints of two bodies,
zeros if there is no second (or first) body. A label file has one row ``class,start,end,
confidence`` per action instance. The instance is rows ``start`` to ``end``, both included, counted
from 0, as published code cuts them (the description does not say).

Files are named after the recording: ``0002-L`` (phase 1, which does not name the subject) or
``A10N08-L`` (phase 2, subject 8); the letter is the camera: left, middle or right.
"""

import os
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import SourceError
from ...io.guard import reads
from ...io.listing import everything_below
from ...io.names import from_bytes
from ...io.text import read_bytes, read_text
from ..clip import Clip, empty_hands
from ..ingest import Converted, Report
from ..joints import joint_scores
from ..store import ClipStore, StoreWriter

NUM_JOINTS = 25
NUM_BODIES = 2
NUM_VALUES = NUM_BODIES * NUM_JOINTS * 3
FPS = 30.0
IMAGE_SIZE = (1920, 1080)

_NAME = re.compile(r'(?:\d{4}|A\d{2}N(?P<subject>\d{2}))-[LMR]')
_FIX = 'unpack or download it again'


@dataclass(frozen=True)
class Recording:
    """A skeleton file with its labels; ``done`` are clip ids that are stored already."""

    skeletons: str
    labels: str
    done: frozenset = frozenset()

    def __str__(self) -> str:
        return Path(self.skeletons).stem


@reads('a source as docs/data.md describes it')
def list_recordings(
    skeletons: str | os.PathLike, labels: str | os.PathLike, report: Report
) -> list[Recording]:
    """Pairs the files of two folders by name. Files without a partner are refused.

    Raises:
        SourceError: No recording has both.
    """
    skeleton_files, label_files = (
        _files(skeletons, '.skeleton', report),
        _files(labels, '.label', report),
    )
    recordings = []
    for name in sorted(skeleton_files.keys() | label_files.keys()):
        report.found += 1
        if not _NAME.fullmatch(name):
            report.refuse(name, 'name is not of the form 0002-L or A10N08-L')
        elif name not in label_files:
            report.refuse(name, 'recording without a label file')
        elif name not in skeleton_files:
            report.refuse(name, 'label file without a recording')
        else:
            recordings.append(Recording(skeleton_files[name], label_files[name]))
    if not recordings:
        raise SourceError(
            f'{skeletons} and {labels}',
            found='no recording that has both skeletons and labels',
            expected='files such as 0002-L.txt in both',
            fix='give the folders PKU_Skeleton_Renew and Train_Label_PKU_final',
        )
    return recordings


def without_done(recordings: Sequence[Recording], writer: StoreWriter) -> list[Recording]:
    """Recordings in which the clips that a store holds already are marked as done."""
    done: dict[str, set] = {}
    for clip_id in writer.clip_ids:
        done.setdefault(clip_id.split('_')[0], set()).add(clip_id)
    return [replace(r, done=frozenset(done.get(str(r), ()))) for r in recordings]


def present_splits(
    splits: Mapping[str, Mapping], report: Report, store: ClipStore
) -> dict[str, dict]:
    """The official splits without recordings that have no clip; the report lists these."""
    there = {from_bytes(name) for name in store.column('source').tolist()}
    present = {}
    for name, rule in splits.items():
        absent = [recording for recording in rule['source'] if recording not in there]
        kept = [recording for recording in rule['source'] if recording in there]
        if absent:
            some = ', '.join(absent[:5]) + (' ...' if len(absent) > 5 else '')
            report.notes.append(f'split {name}: {len(absent)} recordings without a clip ({some})')
        if kept:
            present[name] = {'source': kept}
    return present


def _files(folder: str | os.PathLike, suffix: str, report: Report) -> dict[str, str]:
    paths = everything_below(folder, report.unusable).files
    found: dict[str, str] = {}
    for path in paths:
        if path.suffix in ('.txt', suffix) and found.setdefault(path.stem, str(path)) != str(path):
            report.found += 1
            report.refuse(str(path), 'the same recording again', found[path.stem])
    return found


def parse_recording(data: bytes, where: str) -> np.ndarray:
    """Rows of 150 numbers to (T, 2, 25, 3) float64.

    Raises:
        SourceError: Empty, or a row with another number of values or something that is no number.
    """
    lines = [line for line in data.splitlines() if line and not line.isspace()]
    with warnings.catch_warnings():
        # numpy warns or raises (by version) if the text is not all numbers; the size shows it
        warnings.simplefilter('ignore', DeprecationWarning)
        try:
            values = np.fromstring(b'\n'.join(lines), dtype=np.float64, sep=' ')
        except ValueError:
            values = np.empty(0)
    rows_whole = all(len(line.split()) == NUM_VALUES for line in lines)
    if not lines or not rows_whole or values.size != len(lines) * NUM_VALUES:
        raise _row_error(lines, where)
    return values.reshape(-1, NUM_BODIES, NUM_JOINTS, 3)


def _row_error(lines: list[bytes], where: str) -> SourceError:
    found, place = 'no row', where
    for n, line in enumerate(lines, 1):
        row = line.split()
        place = f'{where}, row {n}'
        if len(row) != NUM_VALUES:
            found = f'{len(row)} values'
            break
        try:
            np.array(row).astype(np.float64)
        except ValueError:
            found = 'something that is not a number'
            break
    return SourceError(
        place, found=found, expected=f'{NUM_VALUES} numbers: 3 x 25 joints x 2 bodies', fix=_FIX
    )


def parse_labels(text: str, where: str) -> list[tuple[int, int, int]]:
    """Rows ``class,start,end,confidence`` to (class from 1, start, end).

    Raises:
        SourceError: A row of another form.
    """
    instances = []
    for n, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            action, start, end, _ = (int(float(value)) for value in line.split(','))
        except (ValueError, OverflowError):
            raise SourceError(
                f'{where}, line {n}',
                found=repr(line),
                expected='class,start,end,confidence',
                fix=_FIX,
            ) from None
        instances.append((action, start, end))
    return instances


@reads('a source as docs/data.md describes it')
def read_recording(recording: Recording) -> Converted:
    """Cuts one recording into its instances: the reader for :func:`convert`."""
    converted = Converted(str(recording))
    body = parse_recording(read_bytes(recording.skeletons), recording.skeletons)
    instances = parse_labels(read_text(recording.labels, errors='replace'), recording.labels)
    if not instances:
        converted.refused.append((converted.name, 'recording without labelled instances', ''))
    known: set[str] = set()
    for action, start, end in instances:
        clip_id = f'{converted.name}_A{action:03d}_F{start:05d}'
        if clip_id in recording.done:
            converted.skipped += 1
            continue
        reason = None
        if clip_id in known:
            reason = 'the same class and start again'
        elif start < 0 or end < start:
            reason = 'instance without frames (end before start)'
        elif start >= len(body):
            reason = 'instance beyond the recording'
        if reason:
            detail = f'frames {start} to {end} of {len(body)}'
            converted.refused.append((clip_id, reason, detail))
            continue
        known.add(clip_id)
        if end >= len(body):
            converted.repaired['instance ends beyond the recording: cut there'] += 1
        clip = _instance(converted, body[start : end + 1], clip_id, action, start)
        if clip is None:
            converted.refused.append((clip_id, 'no body in any frame', f'frames {start} to {end}'))
        else:
            converted.clips.append(clip)
    return converted


def _instance(
    converted: Converted, rows: np.ndarray, clip_id: str, action: int, start: int
) -> Clip | None:
    """``rows (T, 2, 25, 3)`` to a clip, bodies ordered by motion; None without a body."""
    repaired: Counter = Counter()
    body = rows.swapaxes(0, 1)  # (2, T, 25, 3)
    finite = np.isfinite(body).all(axis=(2, 3))
    visible = finite & (body != 0).any(axis=(2, 3))
    if not visible.any():
        return None
    if not finite.all():
        what = 'body in a frame with a coordinate that is not finite: missing there'
        repaired[what] += int((~finite).sum())
    motion = [
        body[m, visible[m]].reshape(-1, 3).var(axis=0).sum() if visible[m].any() else -1.0
        for m in range(NUM_BODIES)
    ]
    order = [m for m in sorted(range(NUM_BODIES), key=lambda m: -motion[m]) if visible[m].any()]
    visible = visible[order]
    num_missing = int((~visible.any(axis=0)).sum())
    if num_missing:
        repaired['frame without a body: kept, missing'] += num_missing
    converted.repaired.update(repaired)
    body = np.where(visible[..., None, None], body[order], 0).astype(np.float32)
    hand, hand_score = empty_hands(*body.shape[:2], channels=1)
    subject = _NAME.fullmatch(converted.name)['subject']
    return Clip(
        clip_id=clip_id,
        label=action - 1,
        body=body,
        body_score=visible.astype(np.float32),
        hand=hand,
        hand_score=hand_score,
        frame_index=np.arange(start, start + body.shape[1], dtype=np.int32),
        subject=str(int(subject)) if subject else '',
        camera=converted.name[-1],
        source=converted.name,
        video=f'{converted.name}.avi',
        image_size=IMAGE_SIZE,
        fps=FPS,
        body_joint_score=joint_scores(body, visible),
        units=('metre', ''),
    )


#: PKU-MMD, 1 to 51.
PKU_MMD_CLASSES = (
    'bow',
    'brushing hair',
    'brushing teeth',
    'check time (from watch)',
    'cheer up',
    'clapping',
    'cross hands in front (say stop)',
    'drink water',
    'drop',
    'eat meal/snack',
    'falling',
    'giving something to other person',
    'hand waving',
    'handshaking',
    'hopping (one foot jumping)',
    'hugging other person',
    'jump up',
    'kicking other person',
    'kicking something',
    'make a phone call/answer phone',
    'pat on back of other person',
    'pickup',
    'playing with phone/tablet',
    'point finger at the other person',
    'pointing to something with finger',
    'punching/slapping other person',
    'pushing other person',
    'put on a hat/cap',
    'put something inside pocket',
    'reading',
    'rub two hands together',
    'salute',
    'sitting down',
    'standing up',
    'take off a hat/cap',
    'take off glasses',
    'take off jacket',
    'take out something from pocket',
    'taking a selfie',
    'tear up paper',
    'throw',
    'touch back (backache)',
    'touch chest (stomachache/heart pain)',
    'touch head (headache)',
    'touch neck (neckache)',
    'typing on a keyboard',
    'use a fan (with hand or paper)/feeling warm',
    'wear jacket',
    'wear on glasses',
    'wipe face',
    'writing',
)
