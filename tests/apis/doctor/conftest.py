import os

import pytest
from broken_stores import CLASSES, SPLITS, make_clip

from bharnet_mm.datasets import StoreWriter


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch):
    monkeypatch.setattr(os, 'fsync', lambda handle: None)


@pytest.fixture
def clips():
    """Four classes, each once by six subjects."""
    return [make_clip(number) for number in range(24)]


@pytest.fixture
def write(tmp_path):
    """Writes clips to a store; returns its path."""

    def write(clips, name='store', **options):
        settings = dict(
            name='toy', body_layout='kinect_v2', classes=CLASSES, splits=SPLITS, pixels=True
        )
        settings.update(options)
        with StoreWriter(tmp_path / name, **settings) as writer:
            for clip in clips:
                writer.add(clip)
        return tmp_path / name

    return write
