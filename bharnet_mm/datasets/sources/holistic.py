"""MediaPipe Holistic vectors: one flat vector per frame, of the body and both hands.

A vector is pose 33 x (x, y, z, visibility), left hand 21 x (x, y, z), right hand 21 x (x, y, z),
258 numbers, or 225 without visibility; x and y are fractions of the image, z is relative. A body or
hand that was not found is all zeros or all NaN. With the face, 468 or 478 x (x, y, z) after the
pose, it has 1662, 1692, 1629 or 1659 numbers; the face is not used. Vectors of 1629 numbers also
come as face, left hand, pose, right hand. There are two forms:

- an ``.npz`` with the vectors of all clips, (N, T, 258), their labels and perhaps subjects and
  names;
- a folder ``<label>/<clip>/<frame>.npy`` with one vector per file, as in many tutorials.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import ConfigError, SourceError
from ...io.arrays import load_npy, load_npz, names_in_npz
from ...io.guard import reads
from ...io.listing import grandchildren
from ...io.names import same_form
from ...layouts import get_layout
from ..clip import Clip
from ..ingest import Converted, Report
from ..joints import joint_scores

JOINTS, HAND, POINTS = 33, 21 * 3, 468
#: Numbers of a vector to those of a pose's joint and the points of a face.
WIDTHS = {
    joint * JOINTS + 3 * face + 2 * HAND: (joint, face)
    for joint in (3, 4)
    for face in (0, POINTS, POINTS + 10)  # ten points of the irises with refine_face_landmarks
}
#: Values of ``--order`` for vectors with a face and without visibility: the order of tutorials, and
#: that of tables of the Holistic model's landmarks.
ORDERS = ('pose-face-hands', 'face-left-pose-right')
_NOSE = 0.05  # of the image: how near the nose of the pose and that of the face lie
# Names under which an .npz may have its arrays.
KEYS = {
    'keypoint': ('keypoint', 'keypoints', 'X', 'x', 'data', 'sequences'),
    'label': ('label', 'labels', 'y', 'Y'),
    'subject': ('subject', 'subjects', 'signer', 'signers'),
    'name': ('name', 'names', 'clip_id', 'id'),
    'classes': ('classes', 'class_names', 'actions'),
}
_MIN_SCORE = 1e-3  # least score of a pose that was found
_UPPER = [
    joint
    for joint in get_layout('mediapipe_pose').joints
    if not joint.endswith(('hip', 'knee', 'ankle', 'heel', 'foot_index'))
]


@dataclass(frozen=True)
class HolisticClip:
    """A clip that is not read yet: vectors (T, D), or the folder with their files."""

    clip_id: str
    label: int
    subject: str
    vectors: np.ndarray | str
    order: str = ''
    image_size: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        return self.clip_id


def split_vectors(vectors: np.ndarray, where: str, order: str = '') -> dict[str, np.ndarray]:
    """Splits Holistic vectors into body and hands.

    Args:
        vectors (np.ndarray): Shape (T, D), floating, D one of ``WIDTHS``.
        where (str): Name of the clip, for error messages.
        order (str): One of ``ORDERS``; '' finds it from the values. Only vectors of 1629 and 1659
            numbers exist in both orders.

    Returns:
        dict: ``body (1, T, 33, 3)``, ``body_score (1, T)``: the mean visibility of the upper body,
            1 if the vectors have none, ``body_joint_score (1, T, 33)``: the visibility of each
            joint, ``hand (1, 2, T, 21, 3)`` and ``hand_score (1, 2, T)``: 1 if there is a hand.

    Raises:
        SourceError: Other shapes or types.
        ConfigError: The order of the parts is not clear.
    """
    if vectors.ndim != 2 or vectors.shape[1] not in WIDTHS or vectors.dtype.kind != 'f':
        raise SourceError(
            where,
            found=f'{vectors.dtype} vectors of shape {vectors.shape}',
            expected=f'floating vectors of shape (frames, D), D one of {sorted(WIDTHS)}',
            fix='give pose, perhaps face, left hand and right hand, flat',
        )
    vectors = vectors.astype(np.float32)
    width, face = WIDTHS[vectors.shape[1]]
    if width == 3 and face and (order or _order(vectors, face, where)) == ORDERS[1]:
        places = 3 * face + np.cumsum([HAND, width * JOINTS])
        left, pose, right = np.split(vectors, [3 * face, *places], axis=1)[1:]
    else:
        pose, left = vectors[:, : width * JOINTS], vectors[:, -2 * HAND : -HAND]
        right = vectors[:, -HAND:]
    pose, left, right = (_zeros_for_nan(part) for part in (pose, left, right))
    pose = pose.reshape(-1, JOINTS, width)
    hand = np.stack([left, right]).reshape(2, -1, 21, 3)
    upper = [get_layout('mediapipe_pose').index(joint) for joint in _UPPER]
    visibility = pose[..., 3] if width == 4 else np.ones(pose.shape[:2], np.float32)
    there = (pose != 0).any(axis=(1, 2))
    score = np.where(there, visibility[:, upper].mean(axis=1).clip(_MIN_SCORE, 1), 0)
    return {
        'body': pose[None, ..., :3],
        'body_score': score.astype(np.float32)[None],
        'body_joint_score': visibility[None].clip(_MIN_SCORE, 1) if width == 4 else None,
        'hand': hand[None],
        'hand_score': (hand != 0).any(axis=(2, 3)).astype(np.float32)[None],
    }


def _zeros_for_nan(part: np.ndarray) -> np.ndarray:
    """(T, D) with 0 in place of a body or hand that is all NaN in a frame; both mean that it is
    missing.
    """
    return np.where(np.isnan(part).all(axis=1, keepdims=True), np.float32(0), part)


def _order(vectors: np.ndarray, face: int, where: str) -> str:
    """The order for which the noses of pose and face lie at the same place."""
    apart = {}
    places = ((ORDERS[0], 0, 3 * JOINTS), (ORDERS[1], 3 * face + HAND, 0))
    for order, pose_at, face_at in places:
        a = vectors[:, pose_at : pose_at + 2]
        b = vectors[:, face_at + 3 : face_at + 5]  # landmark 1 of the face mesh
        known = np.isfinite(a + b).all(axis=1) & (a != 0).any(axis=1) & (b != 0).any(axis=1)
        distance = np.linalg.norm(a[known] - b[known], axis=1)
        apart[order] = float(np.median(distance)) if len(distance) else np.inf
    near = [order for order, distance in apart.items() if distance < _NOSE]
    if len(near) != 1:
        raise ConfigError(
            f'{where}, --order',
            f'{vectors.shape[1]} numbers in which {"both orders fit" if near else "no order fits"}',
            'a face whose nose lies at that of the pose',
            f'say how the parts follow one another: --order {" or ".join(ORDERS)}',
        )
    return near[0]


@reads('a source as docs/data.md describes it')
def read_clip(item: HolisticClip) -> Converted:
    """Reads one clip: the reader for ``convert``."""
    if isinstance(item.vectors, str):
        vectors, numbers = _read_frames(Path(item.vectors))
    else:
        vectors, numbers = item.vectors, range(len(item.vectors))
    clip = Clip(
        clip_id=item.clip_id,
        label=item.label,
        **split_vectors(vectors, item.clip_id, item.order),
        frame_index=np.array(numbers, dtype=np.int32),
        subject=item.subject,
        source='mediapipe-holistic',
        image_size=item.image_size,
        units=('fraction', 'fraction'),
    )
    # A vector with NaN is treated as damaged as a whole, even if it has joint scores.
    visibility, clip = clip.body_joint_score, replace(clip, body_joint_score=None)
    clip, masked = clip.with_nonfinite_masked()
    known = joint_scores(clip.body, clip.body_score > 0, visibility)
    clip = replace(clip, body_joint_score=known)
    if not (clip.body_score > 0).any() and not (clip.hand_score > 0).any():
        return Converted(item.clip_id, refused=[(item.clip_id, 'no body and no hand in it', '')])
    repaired = Counter({'body or hand frame with NaN or infinity: missing': masked})
    return Converted(item.clip_id, [clip], +repaired)


def _read_frames(folder: Path) -> tuple[np.ndarray, list[int]]:
    """Vectors and numbers of the frames of a folder, in the order of the numbers."""
    files = {}
    for path in folder.glob('[!.]*.npy'):
        number = path.stem
        digits = number.isascii() and number.isdigit() and len(number) < 10
        if not digits or int(number) in files:
            raise SourceError(
                str(path),
                found='a name that is not a frame number, or one that is taken already',
                expected='0.npy, 1.npy, 2.npy, ...',
                fix='rename or remove the file',
            )
        files[int(number)] = path
    numbers = sorted(files)
    first = numbers[0] if numbers and numbers[0] <= 1 else 0
    # The first gap comes early, so no list of all numbers up to the last one is made.
    expected = range(first, first + len(numbers))
    absent = [n for n in expected if n not in files] if numbers else []
    if not numbers or absent:
        raise SourceError(
            str(folder),
            found=f'no file of the frames {absent[:10]}' if absent else 'no frame files',
            expected='one file for each frame: 0.npy, 1.npy, 2.npy, ...',
            fix='record the clip again, or number its frames without gaps',
        )
    vectors = [_read_vector(files[number]) for number in numbers]
    for number, vector in zip(numbers, vectors, strict=True):
        if vector.shape != vectors[0].shape:
            raise SourceError(
                str(files[number]),
                found=f'{vector.shape[0]} numbers',
                expected=f'{vectors[0].shape[0]}, as in the first frame of the clip',
                fix='record the clip again in one form',
            )
    return np.stack(vectors), numbers


def _read_vector(path: Path) -> np.ndarray:
    vector = load_npy(
        path,
        f'a .npy file of D numbers, D one of {sorted(WIDTHS)}',
        'save the vector with numpy.save, without pickled objects',
        2**20,
    )
    if vector.ndim != 1 or len(vector) not in WIDTHS or vector.dtype.kind != 'f':
        raise SourceError(
            str(path),
            found=f'a {vector.dtype} array of shape {vector.shape}',
            expected=f'a floating vector of D numbers, D one of {sorted(WIDTHS)}',
            fix='save the pose with visibility and both hands, zeros where a part is missing',
        )
    return vector


@reads('a source as docs/data.md describes it')
def list_npz(
    path: str | os.PathLike, report: Report, subject_from: str | None = None
) -> tuple[list[HolisticClip], list[str]]:
    """Clips of an ``.npz`` and their class names.

    Args:
        path (str): The file; see ``KEYS`` for the names of its arrays. Labels are names, numbers or
            one-hot rows; numbers are named by the array ``classes`` if there is one.
        report (Report): Counts what is found.
        subject_from (str, optional): Regular expression that is searched in the name of a clip; its
            group 1 is the subject. It is used in place of the array.

    Raises:
        SourceError: The file is no such ``.npz``.
    """
    where = str(path)
    arrays, keys = _load_npz(where)
    if not {'keypoint', 'label'} <= set(arrays):
        raise SourceError(
            where,
            found=f'the arrays {keys}',
            expected=f'one of {KEYS["keypoint"]} and one of {KEYS["label"]}',
            fix='rename the arrays',
        )
    vectors, num = arrays['keypoint'], len(arrays['keypoint'])
    for key in ('label', 'subject', 'name'):
        if key in arrays and len(arrays[key]) != num:
            raise SourceError(
                where,
                found=f'{len(arrays[key])} entries of {key} for {num} clips',
                expected='one for each clip',
                fix='save the arrays of the same clips',
            )
    if vectors.ndim != 3:
        raise SourceError(
            where,
            found=f'vectors of shape {vectors.shape}',
            expected=f'(clips, frames, D), D one of {sorted(WIDTHS)}',
            fix='save one flat vector for each clip and frame',
        )
    labels, classes = _labels(arrays['label'], arrays.get('classes'), where)
    names = [str(name) for name in arrays.get('name', [f'{i:06d}' for i in range(num)])]
    subjects = [str(subject) for subject in arrays.get('subject', [''] * num)]
    if subject_from is not None:
        subjects = [_subject(name, subject_from) for name in names]
    report.found += num
    items = zip(names, labels, subjects, vectors, strict=True)
    return [HolisticClip(*item) for item in items], classes


def _load_npz(where: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays under our names, and their names in the file."""
    told = (
        'an .npz saved by numpy without pickled objects',
        'save clips of one length as one array, or use the folder form',
    )
    keys = names_in_npz(where, *told)
    chosen = {}
    for key, aliases in KEYS.items():
        found = [alias for alias in aliases if alias in keys]
        if found:
            chosen[key] = found[0]
    content = load_npz(where, *told, only=set(chosen.values()))
    return {key: content[name] for key, name in chosen.items()}, keys


def _labels(label: np.ndarray, names: np.ndarray | None, where: str) -> tuple[list[int], list[str]]:
    """Class numbers and class names."""
    if label.ndim == 2 and label.dtype.kind in 'biuf' and (np.sort(label)[:, :-1] == 0).all():
        label = label.argmax(axis=1)  # one-hot
        names = np.arange(label.max() + 1) if names is None else names
    if label.ndim != 1 or label.dtype.kind not in 'Uiu':
        raise SourceError(
            where,
            found=f'{label.dtype} labels of shape {label.shape}',
            expected='one name or number for each clip, or one-hot rows',
            fix='save the labels as text or whole numbers',
        )
    if label.dtype.kind == 'U':
        label = np.array([same_form(name) for name in label.tolist()])
    if label.dtype.kind == 'U' or names is None:
        classes, numbers = np.unique(label, return_inverse=True)
        return numbers.reshape(-1).tolist(), [str(name) for name in classes]
    if label.min() < 0 or label.max() >= len(names):
        raise SourceError(
            where,
            found=f'labels from {label.min()} to {label.max()}',
            expected=f'0 to {len(names) - 1}, as there are {len(names)} class names',
            fix='name all classes',
        )
    return label.tolist(), [str(name) for name in names]


@reads('a source as docs/data.md describes it')
def list_tree(
    folder: str | os.PathLike, report: Report, subject_from: str | None = None
) -> tuple[list[HolisticClip], list[str]]:
    """Clips of a folder ``<label>/<clip>/<frame>.npy``, and its sorted labels.

    Clips are called ``<label>/<clip>``. Arguments and errors are those of :func:`list_npz`.
    """
    folder = Path(folder)
    found = grandchildren(folder, report.unusable)
    classes = sorted({same_form(path.name) for path, _ in found})
    items = []
    for label, name in enumerate(classes):
        same = [inside for path, inside in found if same_form(path.name) == name]
        for path in (file for inside in same for file in inside.files):
            report.unusable(f'{name}/{same_form(path.name)}', 'not a folder of frames')
        for path in sorted((clip for inside in same for clip in inside.folders), key=_natural):
            clip_id = f'{name}/{same_form(path.name)}'
            report.found += 1
            subject = '' if subject_from is None else _subject(clip_id, subject_from)
            items.append(HolisticClip(clip_id, label, subject, str(path)))
    if not items:
        raise SourceError(
            str(folder),
            found='no folders of clips',
            expected='<label>/<clip>/<frame>.npy',
            fix='name the folder that holds one folder for each label',
        )
    return items, classes


def subjects_of(items: Sequence[HolisticClip]) -> list[str]:
    """The subjects, sorted."""
    return sorted({item.subject for item in items if item.subject}, key=_digits)


def _natural(path: Path) -> list:
    return _digits(path.name)


def _digits(text: str) -> list:
    """Sort key that puts 2 before 10."""
    return [(0, int(p), '') if p.isdecimal() else (1, 0, p) for p in re.split(r'(\d+)', text) if p]


def _subject(name: str, pattern: str) -> str:
    match = re.search(pattern, name)
    if not match or not match.groups() or not match.group(1):
        raise SourceError(
            name,
            found=f'no subject by the expression {pattern!r}',
            expected='a match whose group 1 is the subject',
            fix='correct the expression',
        )
    return match.group(1)
