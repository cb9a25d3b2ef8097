"""Small sources of every format that the project reads, made the way real ones are."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bharnet_mm.datasets import Clip, StoreWriter
from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.sources.ntu_text import SkeletonText, format_skeleton
from bharnet_mm.datasets.store.regions import RegionWriter, encode

NTU_IDS = [f'S001C00{c}P00{p}R001A0{a:02d}' for c in (1, 2) for p in (1, 3) for a in (1, 13, 60)]
NUCLA_IDS = [f'a{a:02d}_s0{s}_e01_v0{v}' for a in (1, 9) for s in (1, 2) for v in (1, 2, 3)]


def write_ntu(folder: Path, frames: int = 6) -> Path:
    """``.skeleton`` files of NTU RGB+D."""
    folder.mkdir(parents=True)
    for n, clip_id in enumerate(NTU_IDS):
        joints = np.random.default_rng(n).normal(size=(frames, 25, 12))
        joints[..., 11] = 2
        numbers = np.arange(frames, dtype=np.int32)
        text = SkeletonText(frames, numbers, numbers * 0 + 7, np.zeros((frames, 9)), joints)
        (folder / f'{clip_id}.skeleton').write_bytes(format_skeleton(text))
    return folder


def _nucla_json(n: int, clip_id: str) -> bytes:
    skeletons = np.random.default_rng(n).normal(size=(4, 20, 3)).round(3).tolist()
    label = int(clip_id[1:3])
    return json.dumps(dict(file_name=clip_id, skeletons=skeletons, label=label)).encode()


def write_nucla(folder: Path, form: str = 'folder') -> Path:
    """JSON of Northwestern-UCLA in a folder, a ``.zip`` or a ``.tgz``."""
    files = {f'{name}.json': _nucla_json(n, name) for n, name in enumerate(NUCLA_IDS)}
    if form == 'folder':
        folder.mkdir(parents=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    if form == 'zip':
        with zipfile.ZipFile(folder, 'w') as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(folder, 'w:gz') as archive:
            for name, data in files.items():
                entry = tarfile.TarInfo(f'all/{name}')
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return folder


def write_pku(folder: Path) -> Path:
    """Recordings, labels and splits of PKU-MMD, in ``data``, ``labels`` and ``splits``."""
    for name in ('data', 'labels', 'splits'):
        (folder / name).mkdir(parents=True)
    for name in ('cross-subject', 'cross-view'):
        lists = 'Training:\n0002-L, 0003-M\nTest:\n0004-R\n'
        (folder / f'splits/{name}.txt').write_text(lists)
    for n, name in enumerate(('0002-L', '0003-M', '0004-R')):
        body = np.random.default_rng(n).normal(size=(40, 150)).round(4)
        rows = [' ' + ' '.join(map(str, row)) for row in body]
        (folder / 'data' / f'{name}.txt').write_text('\n'.join(rows) + '\n')
        (folder / 'labels' / f'{name}.txt').write_text('26,5,14,2\n7,20,35,1\n')
    return folder


def arguments(tool: str, source: Path, out: Path) -> list[str]:
    """A converter's command line from a source to a store."""
    if tool == 'pku_mmd':
        more = ['--labels', str(source / 'labels'), '--splits', str(source / 'splits')]
        return [str(source / 'data'), str(out), *more, '--workers', '1']
    more = ['--image-size', '640x480'] if tool == 'keypoints' else []
    return [str(source), str(out), *more, '--workers', '1']


def annotations(protocol: int = 4) -> bytes:
    """An annotation pickle as MMAction2 and pyskl write them."""
    rng = np.random.default_rng(0)
    clips = [
        dict(
            frame_dir=f'clip{i}',
            label=i % 3,
            total_frames=4,
            img_shape=(480, 640),
            original_shape=(480, 640),
            keypoint=(rng.random((1, 4, 17, 2)) * 100 + 1).astype(np.float32),
            keypoint_score=rng.random((1, 4, 17)).astype(np.float32),
        )
        for i in range(9)
    ]
    split = dict(xsub_train=[f'clip{i}' for i in range(6)], xsub_val=['clip6', 'clip7', 'clip8'])
    return pickle.dumps(dict(split=split, annotations=clips), protocol)


def write_pyskl(path: Path) -> Path:
    """An annotation pickle as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(annotations())
    return path


def write_holistic(folder: Path, form: str = 'tree') -> Path:
    """MediaPipe Holistic vectors: a tree of ``.npy``, or one ``.npz``."""
    rng = np.random.default_rng(0)
    vectors = rng.uniform(0.1, 1, (6, 3, 258)).astype(np.float32)
    if form == 'npz':
        folder.parent.mkdir(parents=True, exist_ok=True)
        names = np.array([f'clip{i}' for i in range(6)])
        np.savez(folder, keypoint=vectors, label=np.array(['yes', 'no'] * 3), name=names)
        return folder
    for i, clip in enumerate(('yes/0', 'yes/1', 'yes/2', 'no/0', 'no/1', 'no/2')):
        (folder / clip).mkdir(parents=True)
        for t, vector in enumerate(vectors[i]):
            np.save(folder / clip / f'{t}.npy', vector)
    return folder


def write_openpose(folder: Path) -> Path:
    """OpenPose JSON, a file a frame, in ``<label>/<clip>``."""
    for n, clip in enumerate(('wave/a', 'wave/b', 'clap/a')):
        (folder / clip).mkdir(parents=True)
        for t in range(4):
            rng = np.random.default_rng(10 * n + t)
            parts = {'pose': 25, 'face': 70, 'hand_left': 21, 'hand_right': 21}
            person = {'person_id': [-1]}
            for part, joints in parts.items():
                points = np.column_stack([rng.uniform(50, 400, (joints, 2)), np.full(joints, 0.8)])
                person[f'{part}_keypoints_2d'] = points.round(2).reshape(-1).tolist()
            name = f'{clip[-1]}_{t:012d}_keypoints.json'
            text = json.dumps({'version': 1.3, 'people': [person]})
            (folder / clip / name).write_text(text)
    return folder


def write_store(folder: Path, clips: int = 4) -> Path:
    """A clip store."""
    splits = {'train': {'subject': ['1']}, 'rest': {'subject': {'not_in': ['1']}}}
    classes = ['wave', 'clap', 'écrire']
    options = dict(name='toy', body_layout='kinect_v2', classes=classes, splits=splits)
    with StoreWriter(folder, **options) as writer:
        for i in range(clips):
            rng = np.random.default_rng(i)
            writer.add(
                Clip(
                    clip_id=f'clip{i}',
                    label=i % 3,
                    body=rng.normal(size=(1, 3, 25, 3)).astype(np.float32),
                    body_score=np.ones((1, 3), np.float32),
                    hand=rng.normal(size=(1, 2, 3, 21, 3)).astype(np.float32),
                    hand_score=np.ones((1, 2, 3), np.float32),
                    frame_index=np.arange(3, dtype=np.int32),
                    subject=str(i % 2 + 1),
                )
            )
    return folder


def write_regions(folder: Path, clips: int = 3) -> Path:
    """A region store."""
    grid = RegionGrid(('head', 'left_wrist'), num_frames=3, cell=16, num_offsets=3)
    rng = np.random.default_rng(0)
    with RegionWriter(folder, grid) as writer:
        for i in range(clips):
            pictures = rng.integers(256, size=(3, 3, *grid.shape)).astype(np.uint8)
            jpegs = [encode(picture, 90) for picture in pictures]
            writer.add(f'clip{i}', jpegs, np.ones((3, 2, 3), bool))
    return folder


def write_jhmdb_splits(folder: Path, clips: Sequence[str]) -> Path:
    """The three splits of JHMDB as its folder of text files."""
    folder.mkdir(parents=True)
    for label in sorted({clip.split('/')[0] for clip in clips}):
        names = [clip.split('/')[1] for clip in clips if clip.startswith(f'{label}/')]
        for k in (1, 2, 3):
            lines = [f'{name}.avi {1 + (i + k) % 2}' for i, name in enumerate(names)]
            (folder / f'{label}_test_split{k}.txt').write_text('\n'.join(lines) + '\n')
    return folder


def write_tasks(folder: Path) -> Path:
    """Results of MediaPipe Tasks as JSON, a file a clip, in ``<label>/<clip>.json``."""
    for n, clip in enumerate(('wave/a', 'clap/b')):
        rng = np.random.default_rng(n)
        frames = []
        for _ in range(3):
            body = [dict(zip('xyz', row, strict=True)) for row in rng.random((33, 3)).round(3)]
            hand = [dict(zip('xyz', row, strict=True)) for row in rng.random((21, 3)).round(3)]
            sides = [[{'categoryName': 'Left'}]]
            frames.append({'poseLandmarks': [body], 'handLandmarks': [hand], 'handedness': sides})
        (folder / clip).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({'fps': 25, 'frames': frames})
        (folder / f'{clip}.json').write_text(text)
    return folder
