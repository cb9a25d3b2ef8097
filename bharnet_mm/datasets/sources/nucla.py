"""Northwestern-UCLA Multiview Action 3D: one person, 20 Kinect v1 joints, 10 actions, 3 cameras.

Two forms are read.

**JSON**, the form most published code uses (``all_sqe``): a folder, ``.zip`` or ``.tgz`` of files
``aXX_sXX_eXX_vXX.json`` with ``file_name``, ``label`` (from 1) and ``skeletons`` (T, 20, 3) in
metres.

**Text**, the original download (``multiview_action``): ``view_V/aXX_sXX_eXX/`` with
``fileList.txt``, whose lines begin with a frame number, and one ``frame_N_tc_T_skeletons.txt`` per
frame: a line with a number, then 20 lines ``x,y,z,tracking state``; the same again for a second
body. A frame whose file is absent or empty has no body.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import SourceError
from ...io.archive import MAX_FILE, files_in_archive, read_archive
from ...io.guard import reads
from ...io.listing import children, everything_below
from ...io.names import is_shown
from ...io.text import parse_json, read_bytes
from ...io.text import read_text as text_of
from ..clip import Clip, empty_hands
from ..ingest import Converted, Report
from ..joints import joint_scores
from ..protocols import nucla_fields

NUM_JOINTS = 20
_NAME = re.compile(r'a(\d{2})_s(\d{2})_e(\d{2})_v(\d{2})')
_TEXT_FOLDER = re.compile(r'a\d{2}_s\d{2}_e\d{2}')
_FRAME_FILE = re.compile(r'frame_(\d+)_.*skeletons?\.txt')
_FIX = 'unpack or download it again'


@reads('a source as docs/data.md describes it')
def list_nucla(source: str | os.PathLike, report: Report) -> tuple[list[tuple[str, str]], str]:
    """Finds the clips of either form.

    Args:
        source (str): An archive or folder of JSON files, or the folder of the original text files.
        report (Report): Counts what is found; files with another name are refused here.

    Returns:
        tuple: (clip id, place) of each clip, sorted, and the form: ``json`` or ``text``. The place
            is a path, or a member's name if the source is an archive.

    Raises:
        SourceError: There is no clip in the source.
    """
    source, sizes = Path(source), {}
    if source.is_file():
        inside = files_in_archive(source)
        sizes, form = dict(inside), 'json'
        names = sorted(name for name, _ in inside if name.endswith('.json') and is_shown(name))
    else:
        files, folders = everything_below(source, report.unusable)
        names = [str(path) for path in files if path.suffix == '.json']
        form = 'json' if names else 'text'
        if not names:
            names = [str(path) for path in folders if _TEXT_FOLDER.fullmatch(path.name)]
    found = {}
    for name in names:
        report.found += 1
        clip_id = _text_clip_id(Path(name)) if form == 'text' else Path(name).stem
        if not _NAME.fullmatch(clip_id):
            report.refuse(name, 'name is not of the form aXX_sXX_eXX_vXX')
        elif sizes.get(name, 0) > MAX_FILE:
            report.refuse(name, f'more than {MAX_FILE >> 20} MB when unpacked')
        elif clip_id in found:
            report.refuse(name, 'the same clip again', found[clip_id])
        else:
            found[clip_id] = name
    if not report.found:
        raise SourceError(
            str(source),
            found='no clip',
            expected='files aXX_sXX_eXX_vXX.json, or folders view_*/aXX_sXX_eXX',
            fix='give the folder or archive of the skeletons',
        )
    return sorted(found.items()), form


def _text_clip_id(folder: Path) -> str:
    view = re.fullmatch(r'view_(\d+)', folder.parent.name)
    return f'{folder.name}_v{int(view[1]):02d}' if view else str(folder)


def open_json(
    source: str | os.PathLike, clips: list[tuple[str, str]], _: object = None
) -> Iterator[tuple[str, bytes | str | SourceError]]:
    """(clip id, member) to (clip id, content), in the archive's order; paths are not changed. In
    place of content that cannot be read there is the error.
    """
    source = Path(source)
    if not source.is_file():
        yield from clips
        return
    wanted = {name: clip_id for clip_id, name in clips}
    for name, content in read_archive(source, wanted):
        yield wanted[name], content


@reads('a source as docs/data.md describes it')
def read_json(item: tuple[str, bytes | str | SourceError]) -> Converted:
    """Reads one JSON clip, given as (clip id, content or path): the reader for :func:`convert`."""
    clip_id, content = item
    if isinstance(content, SourceError):
        raise content
    if isinstance(content, str):
        content = read_bytes(content, MAX_FILE)
    try:
        record = parse_json(content)
        skeletons = np.array(record['skeletons'], dtype=np.float64)
        label = int(record['label']) - 1
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise SourceError(
            clip_id,
            found=f'{type(error).__name__}: {str(error)[:80]}',
            expected='JSON with file_name, label and skeletons (T, 20, 3)',
            fix=_FIX,
        ) from None
    if skeletons.ndim != 3 or skeletons.shape[1:] != (NUM_JOINTS, 3) or not len(skeletons):
        raise SourceError(
            clip_id,
            found=f'skeletons of shape {skeletons.shape}',
            expected=f'(frames, {NUM_JOINTS}, 3), at least one frame',
            fix=_FIX,
        )
    named = nucla_fields(clip_id)['label']
    if label != named:
        raise SourceError(
            clip_id,
            found=f'the label {label + 1}',
            expected=f'{named + 1}, as the name says',
            fix='correct the name or the label',
        )
    score = np.ones(len(skeletons), dtype=np.float32)
    return _converted(clip_id, skeletons, score, np.arange(len(skeletons)), Counter())


@reads('a source as docs/data.md describes it')
def read_text(item: tuple[str, str]) -> Converted:
    """Reads one clip of the original text files, given as (clip id, folder)."""
    clip_id, folder = item
    numbers = _frame_numbers(Path(folder))
    files = {}
    for path in children(folder).files:
        match = _FRAME_FILE.fullmatch(path.name)
        if match:
            files[int(match[1])] = path
    if numbers is None:
        numbers = sorted(files)
    repaired: Counter = Counter()
    if not numbers:
        return Converted(clip_id, refused=[(clip_id, 'no skeleton file', folder)])
    body = np.zeros((len(numbers), NUM_JOINTS, 3))
    score = np.zeros(len(numbers), dtype=np.float32)
    state = np.zeros((1, len(numbers), NUM_JOINTS), dtype=np.float32)
    for t, number in enumerate(numbers):
        bodies = _frame_bodies(files[number]) if number in files else np.empty((0, NUM_JOINTS, 4))
        if not len(bodies):
            repaired['frame without a body: kept, missing'] += 1
            continue
        if len(bodies) > 1:
            repaired['body beyond the first of a frame: dropped'] += len(bodies) - 1
        body[t] = bodies[0, :, :3]
        state[0, t] = np.clip(bodies[0, :, 3] / 2, 0, 1)
        score[t] = state[0, t].mean()
    return _converted(clip_id, body, score, np.array(numbers), repaired, state)


def _frame_numbers(folder: Path) -> list[int] | None:
    """First numbers of the lines of ``fileList.txt``, ascending; None without that file."""
    path = folder / 'fileList.txt'
    if not path.is_file():
        return None
    fields = [line.split() for line in text_of(path, errors='replace').splitlines()]
    return sorted({int(row[0]) for row in fields if row and row[0].isdigit()})


def _frame_bodies(path: Path) -> np.ndarray:
    """(bodies, 20, 4) of one frame."""
    lines = [line.strip() for line in text_of(path, errors='replace').splitlines() if line.strip()]
    rows = [line.split(',') for line in lines]
    block = NUM_JOINTS + 1
    well_formed = len(rows) % block == 0 and all(
        len(row) == (1 if n % block == 0 else 4) for n, row in enumerate(rows)
    )
    try:
        if well_formed:
            joints = [row for n, row in enumerate(rows) if n % block]
            return np.array(joints, dtype=np.float64).reshape(-1, NUM_JOINTS, 4)
    except ValueError:
        pass
    raise SourceError(
        str(path),
        found=f'{len(lines)} lines, the first {lines[:2]}',
        expected=f'one number, then {NUM_JOINTS} lines x,y,z,tracking state, for each body',
        fix=_FIX,
    )


def _converted(
    clip_id: str,
    body: np.ndarray,
    score: np.ndarray,
    frames: np.ndarray,
    repaired: Counter,
    state: np.ndarray | None = None,
) -> Converted:
    """``state`` (1, T, 20) is the tracking state of the joints, halved, if the files have it."""
    fields = nucla_fields(clip_id)
    for bad, what in (
        (
            ~np.isfinite(body).all(axis=(1, 2)),
            'frame with a coordinate that is not finite: missing',
        ),
        ((body == 0).all(axis=(1, 2)), 'frame with all joints at (0, 0, 0): missing'),
    ):
        bad &= score > 0
        if bad.any():
            repaired[what] += int(bad.sum())
            score[bad] = 0
    if not score.any():
        return Converted(
            clip_id, refused=[(clip_id, 'no body in any frame', f'{len(body)} frames')]
        )
    hand, hand_score = empty_hands(1, len(body), channels=1)
    clip = Clip(
        **fields,
        body=body.astype(np.float32)[None],
        body_score=score[None],
        hand=hand,
        hand_score=hand_score,
        frame_index=frames.astype(np.int32),
        source='n-ucla',
        body_joint_score=joint_scores(body.astype(np.float32)[None], score[None] > 0, state),
        units=('metre', ''),
    )
    return Converted(clip_id, [clip], repaired)
