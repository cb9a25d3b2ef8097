"""A good store, and ways to break it in one respect only."""

import contextlib

import numpy as np

from bharnet_mm.datasets import Clip, ClipStore
from bharnet_mm.datasets.store.format import ROW, checksum
from bharnet_mm.layouts import get_layout

CLASSES = ['wave', 'clap', 'small', 'écrire']
SPLITS = {
    'xsub_train': {'subject': ['1', '2', '3', '4']},
    'xsub_test': {'subject': ['5', '6']},
    'xview_train': {'camera': ['2']},
    'xview_test': {'camera': ['1']},
}
BODY = get_layout('kinect_v2')
WRISTS = [BODY.index('left_wrist'), BODY.index('right_wrist')]
FOCAL, SIZE = 1000.0, (1920, 1080)


def make_clip(number, frames=12, persons=1, hands='crop', **fields):
    """A person before a camera; hands in a crop, at the wrists in metres, pixels or fractions."""
    random = np.random.default_rng(number)
    body = random.normal(0, 0.3, (persons, 1, 25, 3)) + np.array([0, 0.2, 3.0])
    left, right = WRISTS
    body[:, :, [left, right], 0] += np.array([-0.6, 0.6])
    spine, top = BODY.scale_index
    body[:, :, top] = body[:, :, spine] + np.array([0, 0.5, 0])
    body = body + random.normal(0, 0.01, (persons, frames, 25, 3))
    pixel = body[..., :2] / body[..., 2:] * FOCAL + np.array(SIZE) / 2
    places = {'metres': body[..., :2], 'pixels': pixel, 'fractions': pixel / SIZE}
    if hands == 'crop':
        hand = random.uniform(0.2, 0.8, (persons, 2, frames, 21, 3))
    else:
        places = places[hands][:, :, WRISTS].transpose(0, 2, 1, 3)[:, :, :, None]
        unit = np.abs(places[:, 0] - places[:, 1]).max() / 40
        hand = random.normal(0, unit, (persons, 2, frames, 21, 3))
        hand[..., :2] += places
    values = {
        'clip_id': f'clip_{number:03d}',
        'label': number % len(CLASSES),
        'body': body.astype(np.float32),
        'body_score': np.ones((persons, frames), np.float32),
        'hand': hand.astype(np.float32),
        'hand_score': np.ones((persons, 2, frames), np.float32),
        'body_pixel': pixel.astype(np.float32),
        'frame_index': np.arange(frames, dtype=np.int32),
        'subject': str(number // 4 % 6 + 1),
        'camera': str(number // 4 % 2 + 1),
        'image_size': SIZE,
    }
    values.update(fields)
    return Clip(**values)


@contextlib.contextmanager
def edit(path, number):
    """Writable arrays of a clip as they lie on disk, past the writer's checks; sealed again."""
    store = ClipStore(path)
    rows = np.memmap(path / 'index.bin', dtype=ROW, mode='r+')
    clip = store[number]
    arrays = {'row': rows[number : number + 1]}
    for name, item in store._formats.items():
        first = int(rows[number]['offset'] * item.rows or rows[number]['frame_offset'])
        first *= item.row_bytes
        shape = getattr(clip, name).shape
        arrays[name] = np.memmap(
            path / f'{name}.bin', dtype=item.dtype, mode='r+', offset=first, shape=shape
        )
    yield arrays
    content = [array for name, array in arrays.items() if name != 'row']
    rows[number]['crc32'] = checksum(rows[number], content)
    for array in arrays.values():
        array.flush()


def found(diagnosis):
    """What was found, as (check, severity)."""
    return {(finding.check, finding.severity) for finding in diagnosis.findings}


def only(diagnosis):
    """The one finding."""
    assert len(diagnosis.findings) == 1, diagnosis.findings
    return diagnosis.findings[0]
