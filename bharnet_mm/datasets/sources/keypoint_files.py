"""Reads keypoint files of pose estimators, one file or folder for each clip: ``<label>/<clip>``.

- OpenPose: a folder with a ``<name>_<frame>_keypoints.json`` for each frame; BODY_25 or COCO (18),
  hands.
- pose-format: one ``.pose`` file, read by the library of that name.
- MediaPipe Tasks: one ``.json`` with the results of all frames.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SourceError
from ...io.guard import reading, reads
from ...io.listing import grandchildren
from ...io.names import same_form
from ...layouts import SkeletonLayout, get_layout
from ..clip import Clip
from ..ingest import Converted, Report
from .openpose import read_openpose
from .people import Person, persons_of
from .pose_format import read_pose
from .tasks import read_tasks

READERS = {'openpose': read_openpose, 'pose': read_pose, 'tasks': read_tasks}


@dataclass
class Recording:
    """The content of a keypoint file.

    Attributes:
        layout: Name of the body's layout.
        channels: Names of the coordinates.
        frames: People of each frame.
        numbers: Frame numbers.
        unit: ``'pixel'`` or ``'fraction'``.
        image_size: (width, height), (0, 0) if the file does not say it.
        fps: Frames per second, 0 if the file does not contain it.
        tracked: Whether the n-th person is the same in all frames.
        dropped: Content of the file that is not kept, to its count.
    """

    layout: str
    channels: tuple[str, ...]
    frames: list[list[Person]]
    numbers: list[int]
    unit: str
    image_size: tuple[int, int] = (0, 0)
    fps: float = 0.0
    tracked: bool = False
    dropped: Counter | None = None


@dataclass(frozen=True)
class KeypointClip:
    """A clip that is not read yet."""

    clip_id: str
    label: int
    subject: str
    path: str
    form: str
    image_size: tuple[int, int] = (0, 0)
    like: tuple = ()  # layout, channels and pixels of the store

    def __str__(self) -> str:
        return self.clip_id


def list_clips(
    folder: Path, report: Report, subject_from: str | None, image_size: tuple[int, int]
) -> tuple[list[KeypointClip], list[str]]:
    """Clips of a folder ``<label>/<clip>`` and the labels. Other files are refused.

    Raises:
        SourceError: There is no clip.
    """
    found = grandchildren(folder, report.unusable)
    classes = sorted({same_form(path.name) for path, _ in found})
    items = []
    for path in (path for _, inside in found for path in sorted([*inside.files, *inside.folders])):
        name = same_form(path.parent.name)
        report.found += 1
        clip_id = f'{name}/{same_form(path.name if path.is_dir() else path.stem)}'
        form = form_of_file(path)
        if not form:
            report.refuse(f'{name}/{path.name}', 'no keypoint file')
            continue
        subject = ''
        if subject_from is not None:
            found = re.search(subject_from, clip_id)
            if not found or not found.group(1):
                report.refuse(clip_id, f'no subject by the expression {subject_from!r}')
                continue
            subject = found.group(1)
        label = classes.index(name)
        items.append(KeypointClip(clip_id, label, subject, str(path), form, image_size))
    if not items:
        raise SourceError(
            str(folder),
            'no keypoint file',
            '<label>/<clip>.pose, <label>/<clip>.json or <label>/<clip>/<frame>_keypoints.json',
            'name the folder that holds one folder for each label',
        )
    return items, classes


def form_of_file(path: Path) -> str:
    """``'openpose'``, ``'pose'``, ``'tasks'``, or ``''``."""
    if path.is_dir():
        return 'openpose' if any(path.glob('[!.]*_keypoints.json')) else ''
    return {'.pose': 'pose', '.json': 'tasks'}.get(path.suffix.lower(), '')


@reads('a keypoint file as docs/data.md describes it')
def read_recording(item: KeypointClip) -> Recording:
    """Reads the file or folder of a clip."""
    recording = Recording(**READERS[item.form](Path(item.path)))
    if not all(recording.image_size):
        recording.image_size = item.image_size
    return recording


def read_clip(item: KeypointClip) -> Converted:
    """Reads one clip: the reader for ``convert``."""
    converted = Converted(item.clip_id)
    with reading(item.path, 'a keypoint file as docs/data.md describes it'):
        recording = read_recording(item)
        converted.repaired.update(recording.dropped or {})
        found = (recording.layout, recording.channels, recording.unit)
        if item.like and found != item.like[:3]:
            raise SourceError(
                item.path,
                f'{found[0]} with {"".join(found[1])} in the unit {found[2]!r}',
                f'{item.like[0]} with {"".join(item.like[1])} in {item.like[2]!r}, as in the first',
                'convert clips of different kinds into different stores',
            )
        layout: SkeletonLayout = get_layout(recording.layout)
        arrays: dict[str, Any] | None = persons_of(
            recording.frames,
            layout,
            len(recording.channels),
            converted.repaired,
            recording.tracked,
        )
    if arrays is None or not (arrays['body_score'].any() or arrays['hand_score'].any()):
        detail = f'{len(recording.frames)} frames'
        converted.refused.append((item.clip_id, 'nobody in any frame', detail))
        return converted
    pixel = None
    if item.like and item.like[3]:
        if not all(recording.image_size):
            detail = 'the first clip says it'
            converted.refused.append((item.clip_id, 'size of the picture not known', detail))
            return converted
        pixel = arrays['body'][..., :2]
        if recording.unit == 'fraction':
            pixel = pixel * np.float32(recording.image_size)
    clip = Clip(
        clip_id=item.clip_id,
        label=item.label,
        **arrays,
        frame_index=np.array(recording.numbers, np.int32),
        body_pixel=pixel,
        subject=item.subject,
        source=item.form,
        image_size=recording.image_size,
        fps=recording.fps,
        units=(recording.unit, recording.unit),
    )
    converted.clips.append(clip)
    return converted
