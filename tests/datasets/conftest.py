import os

import numpy as np
import pytest

from bharnet_mm.datasets import Clip, StoreWriter

CLASSES = ['wave', 'clap', 'small', 'écrire']


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch):
    """Waiting for the disk protects against a power cut, which no test here has."""
    monkeypatch.setattr(os, 'fsync', lambda handle: None)


@pytest.fixture
def make_clip():
    """A random clip whose content follows from its number."""

    def make(number=0, frames=5, persons=1, joints=25, **fields):
        random = np.random.default_rng(number)
        values = {
            'clip_id': f'clip_{number:03d}',
            'label': number % len(CLASSES),
            'body': random.normal(size=(persons, frames, joints, 3)).astype(np.float32),
            'body_score': np.ones((persons, frames), np.float32),
            'hand': random.normal(size=(persons, 2, frames, 21, 3)).astype(np.float32),
            'hand_score': random.uniform(0.1, 1, size=(persons, 2, frames)).astype(np.float32),
            'frame_index': np.arange(frames, dtype=np.int32) * 2 + number,
            'subject': str(number % 3 + 1),
            'camera': str(number % 2 + 1),
            'source': f'seq{number // 4}',
            'video': f'videos/{number}.mp4',
            'image_size': (1920, 1080),
            'fps': 30.0,
        }
        values.update(fields)
        return Clip(**values)

    return make


@pytest.fixture
def write_store(tmp_path, make_clip):
    """Writes a store of ``num`` clips of 3 to 6 frames and 1 or 2 persons; returns its path."""

    def write(num=12, name='store', clips=None, **options):
        settings = {
            'name': 'toy',
            'body_layout': 'kinect_v2',
            'classes': CLASSES,
            'splits': {
                'xsub_train': {'subject': ['1', '2']},
                'xsub_test': {'subject': {'not_in': ['1', 2]}},
            },
        }
        settings.update(options)
        if clips is None:
            clips = [make_clip(i, frames=3 + i % 4, persons=1 + i % 2) for i in range(num)]
        with StoreWriter(tmp_path / name, **settings) as writer:
            for clip in clips:
                writer.add(clip)
        return tmp_path / name

    return write
