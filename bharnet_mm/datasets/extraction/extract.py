"""Makes clips from the frames of a video: bodies and hands of a plain video, or hands for known
bodies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...errors import SourceError
from ...layouts import SkeletonLayout, get_layout
from ..clip import Clip
from ..joints import joint_scores
from .association import find_arms
from .bystanders import SECOND, BystanderWatch
from .estimators import BodyPose, Estimator, HandPose
from .second_opinion import SecondOpinion
from .tracking import BodyHandTracker, HandTracker

ELSEWHERE = 'wrist without a hand that the picture shows elsewhere: looked for there'


@dataclass
class Track:
    """One person through a video."""

    frames: list[int] = field(default_factory=list)
    bodies: list[BodyPose] = field(default_factory=list)
    hands: list[tuple[HandPose | None, HandPose | None]] = field(default_factory=list)

    @property
    def motion(self) -> float:
        """Mean spread of the joints over time in body sizes, times the number of frames."""
        xy = np.stack([body.points[:, :2] for body in self.bodies])
        size = np.linalg.norm(np.ptp(xy, axis=1), axis=1).mean()
        return float(np.linalg.norm(xy.std(axis=0), axis=1).mean() / max(size, 1e-6)) * len(xy)

    @property
    def score(self) -> float:
        """Mean score of the bodies, 0 to 1."""
        return float(np.mean([body.score for body in self.bodies]))


def extract_clip(
    frames: Iterable[np.ndarray],
    estimator: Estimator,
    clip_id: str,
    *,
    label: int = 0,
    max_persons: int = 2,
    tick: Callable[[], None] = lambda: None,
    noticed: list[str] | None = None,
    **fields,
) -> Clip:
    """Bodies and hands of a plain video.

    Coordinates are fractions of the image (x of its width, y of its height; depth of its width),
    pixels are in ``body_pixel``. Persons are ordered by motion, then score.

    Args:
        frames: RGB images of one size.
        estimator: Finds bodies and hands.
        clip_id, label, fields: Fields of the clip.
        max_persons: Largest number of persons.
        tick: Called after each frame.
        noticed: List for remarks about the video, such as a second person who is not followed.

    Raises:
        SourceError: The video has no frame, or nobody is in any frame.
    """
    tracker, watch = BodyHandTracker(estimator), BystanderWatch(estimator)
    tracks: dict[int, Track] = {}
    count, size, numbers = 0, (0, 0), []
    for number, image in _numbered(frames, clip_id):
        numbers.append(number)
        size = (image.shape[1], image.shape[0])
        bodies, hands = tracker.step(image)
        watch.step(image, list(bodies.values()))
        for person, body in bodies.items():
            track = tracks.setdefault(person, Track())
            track.frames.append(count)
            track.bodies.append(body)
            track.hands.append((hands.get((person, 0)), hands.get((person, 1))))
        count += 1
        tick()
    if not count:
        raise SourceError(clip_id, 'no frame', 'at least one', 'leave the video out')
    if not tracks:
        raise SourceError(
            clip_id,
            f'nobody in any frame (of {count})',
            'somebody',
            'leave the video out, or enlarge it',
        )
    if watch.found and noticed is not None:
        noticed.append(SECOND)
    order = sorted(tracks.values(), key=lambda track: (-track.motion, -track.score))[:max_persons]
    return tracks_to_clip(
        order,
        numbers,
        size,
        estimator,
        clip_id=clip_id,
        label=label,
        **{'source': 'video', **fields},
    )


def tracks_to_clip(
    tracks: Sequence[Track],
    frame_index: Sequence[int],
    size: tuple[int, int],
    estimator: Estimator,
    **fields,
) -> Clip:
    """A clip of some persons' tracks.

    Args:
        tracks: Tracks of the persons, in the clip's order; their ``frames`` are positions in
            ``frame_index``.
        frame_index: Numbers of the frames in the video, T.
        size: (width, height) of the image.
        estimator: The estimator that found them.
        fields: Other fields of the clip, ``clip_id`` and ``label`` at least.
    """
    count = len(frame_index)
    m, v = len(tracks), get_layout(estimator.body_layout).num_joints
    body = np.zeros((m, count, v, len(estimator.body_channels)), np.float32)
    pixel = np.zeros((m, count, v, 2), np.float32)
    body_score = np.zeros((m, count), np.float32)
    joint_score = np.zeros((m, count, v), np.float32)
    hand, hand_score = _no_hands(m, count, len(estimator.hand_channels))
    for p, track in enumerate(tracks):
        for t, pose, hands in zip(track.frames, track.bodies, track.hands, strict=True):
            body[p, t] = fractions(pose.points, size)
            pixel[p, t] = pose.points[:, :2]
            body_score[p, t] = pose.score
            joint_score[p, t] = pose.joint_score
            for side, found in enumerate(hands):
                if found is not None:
                    hand[p, side, t] = fractions(found.points, size)
                    hand_score[p, side, t] = found.score
    return Clip(
        body=body,
        body_score=body_score,
        hand=hand,
        hand_score=hand_score,
        frame_index=np.asarray(frame_index, dtype=np.int32),
        body_pixel=pixel,
        image_size=size,
        body_joint_score=joint_scores(body, body_score > 0, joint_score),
        units=('fraction', 'fraction'),
        **fields,
    )


def fill_hands(
    frames: Iterable[np.ndarray],
    estimator: Estimator,
    clips: Sequence[Clip],
    layout: SkeletonLayout,
    repaired: Counter,
    *,
    tick: Callable[[], None] = lambda: None,
) -> list[Clip]:
    """The clips of one video with hands filled in at the wrists of their bodies.

    Args:
        frames: RGB images of one size.
        estimator: Finds hands. Its ``bodies_in`` is called if a known wrist has no hand.
        clips: With ``body_pixel``, at their ``frame_index``. Positions are scaled if the video has
            another size than the clip. A joint that is not finite or at (-1, -1) is unknown.
        layout: Layout of the bodies.
        repaired: Counter of frames of clips after the end of the video.
        tick: Called after each frame.

    Raises:
        SourceError: A clip has no ``body_pixel``, or none of its frames is in the video.
    """
    for clip in clips:
        if clip.body_pixel is None:
            raise SourceError(
                f'clip {clip.clip_id!r}',
                'no pixel positions of its joints',
                'body_pixel, which says where the wrists are',
                'convert it with pixels, or extract the videos without --store',
            )
    index = [{int(f): t for t, f in enumerate(clip.frame_index)} for clip in clips]
    last = max(max(frames_of) for frames_of in index)
    trackers = [HandTracker(estimator) for _ in clips]
    opinions = [SecondOpinion(estimator, layout) for _ in clips]
    filled = [_no_hands(c.num_persons, c.num_frames, len(estimator.hand_channels)) for c in clips]
    num_found = [0] * len(clips)
    estimator.start()
    for number, image in _numbered(frames, clips[0].video or clips[0].clip_id):
        size = (image.shape[1], image.shape[0])
        for c, clip in enumerate(clips):
            t = index[c].get(number)
            if t is None:
                continue
            num_found[c] += 1
            hand, hand_score = filled[c]
            people = _known_people(clip, t, size)
            arms = []
            for p, joints in people.items():
                known = np.isfinite(joints).all(axis=1).astype(np.float64)
                arms += find_arms(joints, known, layout, person=p)
            hands = trackers[c].step(image, arms)
            more, elsewhere = opinions[c].step(image, people, hands)
            if elsewhere:
                repaired[ELSEWHERE] += elsewhere
            for (p, side), found in {**more, **hands}.items():
                hand[p, side, t] = fractions(found.points, size)
                hand_score[p, side, t] = found.score
        tick()
        if number >= last:
            break
    for clip, num in zip(clips, num_found, strict=True):
        if not num:
            raise SourceError(
                f'clip {clip.clip_id!r}',
                f'none of its frames {clip.frame_index[0]} to {clip.frame_index[-1]} in its video',
                'frames of the video, counted from 0',
                'check that this is the video it was made from',
            )
        if num < clip.num_frames:
            repaired['frame that the video lacks: hands missing'] += clip.num_frames - num
    return [
        replace(clip, hand=hand, hand_score=score, units=(clip.units[0], 'fraction'))
        for clip, (hand, score) in zip(clips, filled, strict=True)
    ]


def _known_people(clip: Clip, t: int, size: tuple[int, int]) -> dict[int, np.ndarray]:
    """Joints of the persons in frame t of a clip, ``(V, 2)`` pixels of the video, NaN if
    unknown.
    """
    scale = np.ones(2)
    if all(clip.image_size) and tuple(clip.image_size) != size:
        scale = np.array(size) / np.array(clip.image_size)
    people = {}
    for p in np.flatnonzero(clip.body_score[:, t] > 0):
        pixel = clip.body_pixel[p, t].astype(np.float64)
        known = np.isfinite(pixel).all(axis=1) & ~(pixel == -1).all(axis=1)
        people[int(p)] = np.where(known[:, None], pixel * scale, np.nan)
    return people


def fractions(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels ``(..., 2 or 3)`` as fractions of the image: x of its width, y of its height, depth
    of its width.
    """
    return points / np.array([size[0], size[1], size[0]])[: points.shape[1]]


def _no_hands(persons: int, frames: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    hand = np.zeros((persons, 2, frames, 21, channels), np.float32)
    return hand, np.zeros((persons, 2, frames), np.float32)


def _numbered(frames: Iterable[np.ndarray], name: str) -> Iterator[tuple[int, np.ndarray]]:
    """The frames with their numbers in the video. Frames that cannot be decoded are left out."""
    shape = None
    for i, image in enumerate(frames):
        number = getattr(frames, 'number', i)
        shape = shape or image.shape
        if image.shape != shape:
            raise SourceError(
                f'{name}, frame {number}',
                f'a picture of {image.shape[1]}x{image.shape[0]}',
                f'{shape[1]}x{shape[0]} as before',
                'split the video where its size changes',
            )
        yield number, image
