"""A disk that is really full, for what writes but the stores and checkpoints of other tests."""

import numpy as np
import pytest
from formats import write_store

from bharnet_mm.datasets import ClipStore
from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.sources.annotation_export import export_annotations
from bharnet_mm.datasets.store.regions import RegionStore, RegionWriter
from bharnet_mm.datasets.synthetic.gestures import GESTURES
from bharnet_mm.datasets.synthetic.sample import SyntheticSample
from bharnet_mm.datasets.synthetic.videos import write_videos
from bharnet_mm.errors import StoreError, WriteError
from bharnet_mm.evaluation.scores import load_scores, save_scores


def fill(disk, left=20 << 10):
    (disk / 'filler').write_bytes(bytes((1 << 20) - left))


def used(disk):
    return sum(path.stat().st_blocks * 512 for path in disk.iterdir())


def test_regions(small_disk):
    grid = RegionGrid(('head', 'left_wrist'), num_frames=3, cell=16, num_offsets=3)
    masks = np.ones((3, 2, 3), bool)
    with pytest.raises(StoreError, match='No space left'), RegionWriter(small_disk, grid) as writer:
        writer.add('first', [(b'x' * 1000, b'')] * 3, masks)
        writer.commit()
        for i in range(999):
            writer.add(f'clip{i}', [(b'x' * 9000, b'')] * 3, masks)
    assert RegionStore(small_disk).clip_ids == ['first']


def test_scores_reports_and_exports(small_disk, tmp_path):
    logits = {'body': np.zeros((2, 3))}
    save_scores(small_disk / 'a.npz', ['a', 'b'], [0, 1], logits, ['x', 'y', 'z'])
    store = ClipStore(write_store(tmp_path / 'store', 20))
    fill(small_disk)
    noise = {'body': np.random.default_rng(0).normal(size=(4000, 3))}
    ids = [str(i) for i in range(4000)]
    report = Report()
    for i in range(4000):
        report.refuse(f'clip{i}', 'a long story')
    for write in (
        lambda: save_scores(small_disk / 'a.npz', ids, [0] * 4000, noise, ['x', 'y', 'z']),
        lambda: export_annotations(store, small_disk / 'a.pkl'),
        lambda: report.save(small_disk / 'report.json'),
    ):
        with pytest.raises(WriteError, match='No space left'):
            write()
    assert len(load_scores(small_disk / 'a.npz')) == 2
    assert sorted(path.name for path in small_disk.iterdir()) == ['a.npz', 'filler']


def test_videos_of_the_sample(small_disk):
    one = SyntheticSample(classes=GESTURES[:1], clips_per_class=1)
    write_videos(small_disk, one, workers=0)
    whole = {path.name: path.read_bytes() for path in small_disk.iterdir()}
    (small_disk / 'filler').write_bytes(bytes((1 << 20) - used(small_disk) - (1 << 13)))
    with pytest.raises(WriteError, match='frames on the disk'):
        write_videos(small_disk, one, workers=0)
    (small_disk / 'filler').unlink()
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == whole
