"""NTU RGB+D 60 / 120: ``.skeleton`` files to clips.

A file holds everything that the Kinect detected as a body: also chairs and people passing by, and
one person under several ids if the tracking failed. The following rules are those of the field; the
numbers are those of CTR-GCN's published preprocessing:

1. With more than one body id: bodies that occur in at most 11 frames are noise; so are bodies that
   are wider than 0.8 of their height in at least 69.754 % of their frames.
2. The motion of a body is the sum of the variances of x, y and z over its frames and joints. Actor
   one is the body with the most motion. The others follow in the order of their motion. One joins
   actor one if it does not overlap with it in time, otherwise actor two in the same way. Bodies
   that overlap with both are left out.

One rule is our choice: frames without a body are kept and are *missing* (score 0), whereas the
field removes them. So a frame number here is a frame number of the RGB video. Nothing is centred or
rotated.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import SourceError
from ...io.guard import reads
from ...io.listing import everything_below
from ...io.text import read_bytes, read_lines
from ..clip import Clip, empty_hands
from ..ingest import Converted, Report
from ..joints import joint_scores
from ..protocols import ntu_fields
from .ntu_text import COLOR, POSITION, TRACKING, SkeletonText, parse_skeleton

FPS = 30.0
IMAGE_SIZE = (1920, 1080)
OUTSIDE = -1.0  # pixel position, both ways, of a joint whose position in the image is not known

MIN_FRAMES = 12
MAX_SPREAD = 0.8
MAX_SPREAD_SHARE = 0.69754
MAX_ACTORS = 2


@dataclass
class Track:
    """One body id through a clip.

    Attributes:
        frames (np.ndarray): Shape (n,), ascending.
        joints (np.ndarray): Shape (n, 25, 12), see :mod:`ntu_text`.
    """

    frames: np.ndarray
    joints: np.ndarray

    @property
    def motion(self) -> float:
        """Sum of the variances of x, y and z over all frames and joints."""
        return float(self.joints[..., POSITION].reshape(-1, 3).var(axis=0).sum())

    @property
    def spread_share(self) -> float:
        """Share of the frames in which the body is wider than ``MAX_SPREAD`` of its height."""
        extent = np.ptp(self.joints[..., :2], axis=1)  # (n, 2)
        return float((extent[:, 0] > MAX_SPREAD * extent[:, 1]).mean())


def usable_tracks(text: SkeletonText, repaired: Counter) -> list[Track]:
    """Bodies by id, in order of appearance. ``repaired`` counts bodies that cannot be used."""
    position = text.joints[..., POSITION]
    finite = np.isfinite(position).all(axis=(1, 2))
    present = (position != 0).any(axis=(1, 2)) & (text.joints[..., TRACKING] > 0).any(axis=1)
    _count(repaired, 'body in a frame with a coordinate that is not finite: missing there', ~finite)
    _count(
        repaired,
        'body in a frame all zero or with no joint tracked: missing there',
        finite & ~present,
    )
    keep = finite & present
    tracks = []
    ids, first = np.unique(text.body_id[keep], return_index=True)
    for body_id in ids[np.argsort(first)]:
        rows = np.flatnonzero(keep & (text.body_id == body_id))
        frames, once = np.unique(text.frame[rows], return_index=True)
        if len(once) < len(rows):
            repaired['body id twice in a frame: the first is kept'] += len(rows) - len(once)
        tracks.append(Track(frames, text.joints[rows[once]]))
    return tracks


def _count(repaired: Counter, what: str, where: np.ndarray) -> None:
    if where.any():
        repaired[what] += int(where.sum())


def denoise(tracks: list[Track], repaired: Counter) -> list[Track]:
    """Drops bodies that are too short or too wide to be a person. At least one body is kept."""
    for noise, what in (
        (
            lambda t: len(t.frames) < MIN_FRAMES,
            f'body seen in fewer than {MIN_FRAMES} frames: noise',
        ),
        (lambda t: t.spread_share >= MAX_SPREAD_SHARE, 'body too wide for its height: noise'),
    ):
        if len(tracks) > 1:
            kept = [track for track in tracks if not noise(track)]
            kept = kept or [max(tracks, key=lambda t: t.motion)]
            if len(kept) < len(tracks):
                repaired[f'{what}, dropped'] += len(tracks) - len(kept)
            tracks = kept
    return tracks


def assign_actors(tracks: list[Track], repaired: Counter) -> list[list[Track]]:
    """At most two actors, each of bodies that do not overlap in time; the most motion first."""
    actors: list[list[Track]] = []
    spans: list[list[int]] = []
    for track in sorted(tracks, key=lambda t: -t.motion):  # stable: order of appearance where equal
        first, last = int(track.frames[0]), int(track.frames[-1])
        for actor, span in zip(actors, spans, strict=True):
            if last < span[0] or first > span[1]:
                actor.append(track)
                span[:] = min(first, span[0]), max(last, span[1])
                break
        else:
            if len(actors) < MAX_ACTORS:
                actors.append([track])
                spans.append([first, last])
            else:
                repaired['body beyond two actors: dropped'] += 1
    return actors


def skeleton_to_clip(text: SkeletonText, clip_id: str, repaired: Counter) -> Clip:
    """Makes a clip of a file's bodies.

    The score of a person in a frame is the mean tracking state of the joints: 1 all tracked, 0.5
        all inferred. So is that of each joint; one that is not tracked is missing by itself.

    Args:
        text (SkeletonText): T frames.
        clip_id (str): E.g. ``S001C002P003R002A013``; says label, subject, camera and setup.
        repaired (Counter): Is added to.

    Returns:
        Clip: ``body (M, T, 25, 3)`` in metres with M = 1 or 2, ``body_pixel (M, T, 25, 2)`` in the
            colour image, no
        hands.

    Raises:
        SourceError: The file has no frame, or no usable body in any.
    """
    name = ntu_fields(clip_id)
    actors = assign_actors(denoise(usable_tracks(text, repaired), repaired), repaired)
    if not actors:
        raise SourceError(
            clip_id,
            found=f'no usable body in {text.num_frames} frames',
            expected='at least one',
            fix='leave it out; files like this are on the list of missing skeletons',
        )
    shape = (len(actors), text.num_frames)
    body = np.zeros((*shape, 25, 3), dtype=np.float32)
    pixel = np.zeros((*shape, 25, 2), dtype=np.float32)
    score = np.zeros(shape, dtype=np.float32)
    state = np.zeros((*shape, 25), dtype=np.float32)
    for m, actor in enumerate(actors):
        for track in actor:
            body[m, track.frames] = track.joints[..., POSITION]
            pixel[m, track.frames] = track.joints[..., COLOR]
            score[m, track.frames] = track.joints[..., TRACKING].mean(axis=1) / 2
            state[m, track.frames] = track.joints[..., TRACKING] / 2
    unknown = ~np.isfinite(pixel).all(axis=-1)
    _count(repaired, f'joint without a finite pixel position: set to {OUTSIDE:g}', unknown)
    pixel[unknown] = OUTSIDE
    num_missing = int((score.max(axis=0) == 0).sum())
    if num_missing:
        repaired['frame without a body: kept, missing'] += num_missing
    hand, hand_score = empty_hands(*shape, channels=1)
    return Clip(
        clip_id=clip_id,
        label=name['label'],
        body=body,
        body_score=score,
        hand=hand,
        hand_score=hand_score,
        frame_index=np.arange(shape[1], dtype=np.int32),
        body_pixel=pixel,
        subject=name['subject'],
        camera=name['camera'],
        setup=name['setup'],
        source='ntu-rgbd',
        video=f'{clip_id}_rgb.avi',
        image_size=IMAGE_SIZE,
        fps=FPS,
        body_joint_score=joint_scores(body, score > 0, state),
        units=('metre', ''),
    )


def _fields(name: str) -> dict | None:
    """What a clip id says; None if it is none."""
    try:
        fields = ntu_fields(name)
    except SourceError:
        return None
    return fields if fields['clip_id'] == name else None


def clip_id_of(path: str) -> str:
    """The name of the file, which is the clip id."""
    return Path(path).stem


@reads('a source as docs/data.md describes it')
def read_skeleton_file(path: str) -> Converted:
    """Reads one ``.skeleton`` file: the reader for :func:`convert`."""
    clip_id = clip_id_of(path)
    converted = Converted(clip_id)
    text = parse_skeleton(read_bytes(path), str(path))
    if not len(text.frame):
        what = 'no body in any frame' if text.num_frames else 'no frame'
        converted.refused.append((clip_id, what, f'{text.num_frames} frames'))
        return converted
    try:
        converted.clips.append(skeleton_to_clip(text, clip_id, converted.repaired))
    except SourceError as error:
        converted.refused.append((clip_id, 'no usable body in any frame', str(error)))
        converted.repaired.clear()
    return converted


@reads('a source as docs/data.md describes it')
def read_missing_list(path: str | os.PathLike) -> set[str]:
    """Clip ids of a list of samples with missing skeletons, as the authors publish it (prose lines
    are passed over).

    Raises:
        SourceError: No clip id in the file.
    """
    expected = 'lines such as S001C002P005R002A008'
    names = [line.removesuffix('.skeleton') for line in read_lines(path, expected=expected)]
    ids = {name for name in names if _fields(name)}
    if not ids:
        raise SourceError(
            str(path),
            found='no clip id',
            expected='lines such as S001C002P005R002A008',
            fix='give the text file that the authors of NTU RGB+D publish',
        )
    return ids


@reads('a folder of skeletons as docs/data.md describes it')
def list_skeleton_files(
    folder: str | os.PathLike, report: Report, missing: Iterable[str] = (), max_setup: int = 32
) -> list[str]:
    """All ``.skeleton`` files under a folder, sorted by name, without those refused unread.

    Args:
        folder (str): Is searched with its subfolders.
        report (Report): Refused files are entered here.
        missing (Iterable[str]): Clip ids known to have missing or incomplete skeletons.
        max_setup (int): 17 for NTU 60. Defaults to 32.

    Raises:
        SourceError: The folder does not exist or holds no ``.skeleton`` file.
    """
    missing = set(missing)
    found: dict[str, str] = {}
    for file in everything_below(folder, report.unusable).files:
        if file.suffix != '.skeleton':
            continue
        report.found += 1
        clip_id, path = file.stem, str(file)
        fields = _fields(clip_id)
        if not fields:
            report.refuse(file.name, 'name is not of the form SsssCcccPpppRrrrAaaa')
        elif clip_id in missing:
            report.refuse(clip_id, 'on the list of missing skeletons')
        elif int(fields['setup']) > max_setup:
            report.refuse(clip_id, f'setup above {max_setup}: not in NTU RGB+D 60')
        elif clip_id in found:
            report.refuse(clip_id, 'the same clip again', path)
        else:
            found[clip_id] = path
    if not found and not report.refused:
        raise SourceError(
            str(folder),
            found='no .skeleton file',
            expected='the unpacked skeletons of NTU RGB+D',
            fix='unpack the downloaded archive and give its folder',
        )
    return [found[clip_id] for clip_id in sorted(found)]
