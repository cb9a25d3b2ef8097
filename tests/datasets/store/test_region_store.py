import json
import os
import pickle

import numpy as np
import pytest

from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.store.regions import RegionStore, RegionWriter, encode
from bharnet_mm.errors import ConfigError, SourceError, StoreError

GRID = RegionGrid(('head', 'left_wrist'), num_frames=3, cell=16, num_offsets=3)


def clip(number):
    """Smooth pictures (S, 3, H, W), which JPEG keeps nearly as they are, and masks (S, R, F)."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[: GRID.shape[0], : GRID.shape[1]] / 40
    waves = rng.uniform(1, 3, (3, 3, 2, 1, 1))
    pictures = 127 + 100 * np.sin(waves[:, :, 0] * x + waves[:, :, 1] * y + number)
    return pictures.astype(np.uint8), rng.random((3, 2, 3)) > 0.3


def add(writer, number):
    pictures, masks = clip(number)
    writer.add(f'class/clip{number}', [encode(picture, 90) for picture in pictures], masks)


def write(path, numbers):
    with RegionWriter(path, GRID) as writer:
        for number in numbers:
            add(writer, number)


def test_pictures_and_masks_come_back(tmp_path):
    write(tmp_path / 's', (5, 0, 3))
    with RegionWriter(tmp_path / 's', GRID) as writer:
        writer.add('nobody', [(b'', b'')] * 3, np.zeros((3, 2, 3), bool))
    store = pickle.loads(pickle.dumps(RegionStore(tmp_path / 's')))
    assert store.clip_ids == ['class/clip5', 'class/clip0', 'class/clip3', 'nobody']
    assert store.grid == GRID and store.verify() == []
    for number in (0, 3, 5):
        pictures, masks = clip(number)
        for offset in (2, 0, 1):
            rgb, mask = store.read(f'class/clip{number}', offset)
            assert rgb.dtype == np.uint8 and rgb.shape == (3, *GRID.shape)
            assert np.abs(rgb.astype(int) - pictures[offset]).mean() < 3
            np.testing.assert_array_equal(mask, masks[offset])
    rgb, mask = store.read('nobody', 1)
    assert not rgb.any() and not mask.any()


def test_what_a_crash_left_behind_is_cut_off(tmp_path):
    write(tmp_path / 'whole', range(4))
    write(tmp_path / 's', range(2))
    with pytest.raises(KeyboardInterrupt), RegionWriter(tmp_path / 's', GRID) as writer:
        add(writer, 2)
        raise KeyboardInterrupt
    assert len(RegionStore(tmp_path / 's')) == 2
    write(tmp_path / 's', (2, 3))
    for name in ('regions.json', 'index.bin', 'grids.bin'):
        assert (tmp_path / 's' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()


def test_damage_is_found(tmp_path):
    write(tmp_path / 's', range(3))
    data = bytearray((tmp_path / 's/grids.bin').read_bytes())
    data[len(data) // 2] ^= 255
    (tmp_path / 's/grids.bin').write_bytes(data)
    assert RegionStore(tmp_path / 's').verify() == ['class/clip1']
    (tmp_path / 's/grids.bin').write_bytes(bytes(len(data)))
    with pytest.raises(StoreError, match='clip1.*damaged grid'):
        RegionStore(tmp_path / 's').read('class/clip1', 0)
    (tmp_path / 's/grids.bin').write_bytes(data[:-1])
    with pytest.raises(StoreError, match='cut off'):
        RegionStore(tmp_path / 's')


def test_other_grids_and_strangers_are_errors(tmp_path):
    write(tmp_path / 's', (0,))
    other = RegionGrid(GRID.parts, num_frames=3, cell=32, num_offsets=3)
    with pytest.raises(ConfigError, match='found cell=16; expected cell=32'):
        RegionStore(tmp_path / 's').check_grid(other)
    with pytest.raises(ConfigError, match='cell'):
        RegionWriter(tmp_path / 's', other)
    with pytest.raises(ConfigError, match='quality'):
        RegionWriter(tmp_path / 's', GRID, quality=50)
    with pytest.raises(SourceError, match="clip 'x'"):
        RegionStore(tmp_path / 's').read('x', 0)
    with pytest.raises(StoreError, match='no region store'):
        RegionStore(tmp_path)
    with RegionWriter(tmp_path / 's', GRID) as writer:
        with pytest.raises(StoreError, match='the id again'):
            add(writer, 0)
        with pytest.raises(StoreError, match='another writer'):
            RegionWriter(tmp_path / 's', GRID)


MOVING = RegionGrid(('head', 'left_wrist', 'person'), num_frames=2, cell=16, motion=True)


def write_moving(path):
    y, x = np.mgrid[:48, :32] / 9
    grids = np.stack([127 + 100 * np.sin(k * x + y) for k in (1.0, 1.5, 0.7, 2.0)]).astype(np.uint8)
    masks = np.random.default_rng(0).random((3, 3, 2)) > 0.4
    with RegionWriter(path, MOVING) as writer:
        writer.add('a', [encode(grids, 90)] * 3, masks)
        writer.add('nobody', [(b'', b'')] * 3, np.zeros((3, 3, 2), bool))
    return grids, masks


def test_motion_is_the_fourth_channel(tmp_path):
    grids, masks = write_moving(tmp_path / 's')
    store = RegionStore(tmp_path / 's')
    assert store.grid == MOVING and store.meta['version'] == 2 and store.verify() == []
    for offset in range(3):
        rgb, mask = store.read('a', offset)
        assert rgb.shape == (4, 48, 32)
        assert np.abs(rgb.astype(int) - grids).mean(axis=(1, 2)).max() < 4
        np.testing.assert_array_equal(mask, masks[offset])
    assert store.read('nobody', 0)[0].shape == (4, 48, 32)
    shares = masks.sum(axis=(0, 2)) / (2 * 3 * 2)  # half of the clips show nobody
    assert store.shares == pytest.approx(dict(zip(MOVING.parts, shares, strict=True)))


def test_a_part_of_what_is_stored(tmp_path):
    write_moving(tmp_path / 's')
    store = RegionStore(tmp_path / 's')
    few = RegionGrid(('person', 'head'), num_frames=2, cell=16)
    store.check_grid(few, part_of=True)
    rgb, mask = store.read('a', 1, few)
    whole, all_masks = store.read('a', 1)
    assert rgb.shape == (3, 32, 32)
    np.testing.assert_array_equal(rgb, np.concatenate([whole[:3, 32:], whole[:3, :16]], axis=1))
    np.testing.assert_array_equal(mask, all_masks[[2, 0]])
    with pytest.raises(ConfigError, match='motion=True'):
        store.check_grid(few)
    other = RegionGrid(('person', 'left_ankle'), num_frames=2, cell=16)
    with pytest.raises(ConfigError, match='left_ankle'):
        store.check_grid(other, part_of=True)


def test_motion_that_is_not_stored_is_refused(tmp_path):
    write(tmp_path / 's', [0])
    wanted = RegionGrid(GRID.parts, num_frames=3, cell=16, num_offsets=3, motion=True)
    with pytest.raises(ConfigError, match='found motion=False; expected motion=True'):
        RegionStore(tmp_path / 's').check_grid(wanted, part_of=True)


def test_stores_of_version_1_are_read_and_continued(tmp_path):
    write(tmp_path / 's', range(2))
    file = tmp_path / 's/regions.json'
    meta = json.loads(file.read_text())
    del meta['grid']['motion']  # as it was written before there was motion
    file.write_text(json.dumps(meta | {'version': 1}))
    assert RegionStore(tmp_path / 's').grid == GRID
    write(tmp_path / 's', [2])
    store = RegionStore(tmp_path / 's')
    assert len(store) == 3 and store.verify() == []
    file.write_text(json.dumps(meta | {'version': 3}))
    with pytest.raises(StoreError, match='version 3'):
        RegionStore(tmp_path / 's')


def test_a_file_cut_off_while_it_is_open(tmp_path):
    write(tmp_path / 's', [0, 1])
    store = RegionStore(tmp_path / 's')
    os.truncate(tmp_path / 's/grids.bin', 10)
    with pytest.raises(StoreError, match='grids.bin: found 10 bytes'):
        store.read('class/clip0', 1)
    os.truncate(tmp_path / 's/index.bin', 10)
    with pytest.raises(StoreError, match='index.bin: found 10 bytes'):
        store.read('class/clip0', 1)
