"""``--overwrite`` and ``--resume``: the old store stays whole until the new one is."""

import argparse
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from bharnet_mm.apis.converter import place_to_write
from bharnet_mm.datasets import ClipStore
from bharnet_mm.datasets.clip import Clip, empty_hands
from bharnet_mm.datasets.store import StoreWriter
from bharnet_mm.errors import ConfigError, StoreError


def writer(path, append=False):
    return StoreWriter(
        path, name='t', body_layout='kinect_v2', hand_layout=None, classes=['a'], append=append
    )


def clip(i):
    score = np.ones((1, 3), np.float32)
    return Clip(
        f'c{i}', 0, np.ones((1, 3, 25, 3), np.float32), score, *empty_hands(1, 3), np.arange(3)
    )


def fill(path, numbers, append=False):
    with writer(path, append) as store:
        for i in numbers:
            store.add(clip(i))


def options(out, **given):
    return argparse.Namespace(**{'out': Path(out), 'resume': False, 'overwrite': False} | given)


@pytest.fixture
def out(tmp_path):
    fill(tmp_path / 'out', range(9))
    return tmp_path / 'out'


def test_overwriting_that_ends_well(out):
    with place_to_write(options(out, overwrite=True)) as place:
        fill(place, range(2))
        assert len(ClipStore(out)) == 9
        with pytest.raises(StoreError, match='another writer'):
            writer(out, append=True)
    assert len(ClipStore(out)) == 2 and os.listdir(out.parent) == ['out']
    fill(out, [5], append=True)


def test_overwriting_that_fails_or_finds_nothing(out):
    with pytest.raises(KeyboardInterrupt), place_to_write(options(out, overwrite=True)) as place:
        fill(place, range(2))
        raise KeyboardInterrupt
    with place_to_write(options(out, overwrite=True)) as place:
        fill(place, [])
    assert len(ClipStore(out)) == 9 and os.listdir(out.parent) == ['out']


def test_overwriting_beside_a_writer(out):
    with writer(out, append=True) as running:
        running.add(clip(9))
        with pytest.raises(StoreError, match='another writer'):
            with place_to_write(options(out, overwrite=True)):
                pass
        running.add(clip(10))
    assert len(ClipStore(out)) == 11 and not ClipStore(out).verify()


def test_what_a_kill_leaves(out):
    beside = out.with_name('.out.building')
    fill(beside, range(3))
    with place_to_write(options(out, overwrite=True)) as place:
        assert place == beside and not place.exists()
        fill(place, [1])
    assert ClipStore(out).clip_ids.tolist() == ['c1']
    out.rename(out.with_name('.out.replaced'))
    with place_to_write(options(out, resume=True)) as place:
        fill(place, [2], append=True)
    assert ClipStore(out).clip_ids.tolist() == ['c1', 'c2']


@pytest.mark.parametrize('left', [[], ['.store.json.0123456789ab.partial'], ['store.json.tmp']])
def test_killed_before_the_first_commit(out, left):
    """What a writer leaves that never came to its first commit can be continued."""
    (out / 'store.json').unlink()
    for name in left:
        (out / name).write_text('{')
    with pytest.raises(ConfigError, match='something there already'):
        with place_to_write(options(out)):
            pass
    with place_to_write(options(out, resume=True)) as place:
        fill(place, range(4), append=True)
    assert len(ClipStore(out)) == 4 and not ClipStore(out).verify()
    shutil.rmtree(out)
    (out / 'x').mkdir(parents=True)
    with pytest.raises(ConfigError, match='not a clip store'):
        with place_to_write(options(out, resume=True)):
            pass


def test_a_full_disk_leaves_the_last_commit(small_disk):
    out = small_disk / 'out'
    before = len(os.listdir('/proc/self/fd'))
    with pytest.raises(StoreError, match='No space left'), writer(out) as store:
        store.add(clip(0))
        store.commit()
        for i in range(1, 2000):
            store.add(clip(i))
    assert len(os.listdir('/proc/self/fd')) == before
    assert ClipStore(out).clip_ids.tolist() == ['c0']
    fill(out, [1], append=True)  # room again: what was not committed is cut off
    assert ClipStore(out).clip_ids.tolist() == ['c0', 'c1'] and not ClipStore(out).verify()
