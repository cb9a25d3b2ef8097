import json

import numpy as np
import pytest
from videos import write_video

from bharnet_mm.datasets import BodyHandDataset, ingest
from bharnet_mm.datasets.extraction.regions import RegionWorker, extract_regions
from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.store.regions import RegionStore
from bharnet_mm.errors import ConfigError, SourceError, StoreError

GRID = RegionGrid(cell=16)
SIZE = (96, 64)


def picture(rng):
    y, x = np.mgrid[: SIZE[1], : SIZE[0]] / 10
    a, b, c = rng.uniform(0.1, 0.4, (3, 3, 1, 1))
    return (127 + 120 * np.sin(a * x + b * y + c)).transpose(1, 2, 0).astype(np.uint8)


@pytest.fixture
def data(tmp_path, make_clip, write_store):
    """Six clips of five videos, of which one is absent and one is too short for its clip; one shows
    nobody.
    """
    rng = np.random.default_rng(0)

    def clip(number, video, start=0, **fields):
        frames = 12
        pixel = rng.uniform(0, 60, (2, frames, 25, 2)).astype(np.float32)
        return make_clip(
            number,
            frames=frames,
            persons=2,
            body_pixel=pixel,
            video=video,
            image_size=SIZE,
            frame_index=np.arange(start, start + frames, dtype=np.int32),
            **fields,
        )

    videos = tmp_path / 'videos'
    for name, length in (('a.avi', 12), ('b.avi', 30), ('short.avi', 7), ('empty.avi', 12)):
        write_video(videos / name, [picture(rng) for _ in range(length)])
    clips = [
        clip(0, 'b.avi', start=18),
        clip(1, 'a.avi'),
        clip(2, 'b.avi'),
        clip(3, 'gone.avi'),
        clip(4, 'short.avi'),
        clip(5, 'empty.avi', body_score=np.zeros((2, 12), np.float32)),
        clip(6, 'b.avi', start=25),
    ]
    return videos, write_store(clips=clips, pixels=True)


def grids(cut, store, **options):
    steps = [dict(type='CutRegions', cell=16, missing='mask', **cut)]
    return BodyHandDataset(store, steps, **options)


def test_stored_grids_are_those_cut_on_the_fly_up_to_jpeg(data, tmp_path):
    videos, store = data
    report = extract_regions(videos, store, tmp_path / 'regions', GRID, workers=0)
    assert report.kept == 4 and report.num_refused == 3
    refused = json.loads((tmp_path / 'regions/refused.json').read_text())
    assert {name for names in refused.values() for name in names} == {
        'clip_003',
        'clip_004',
        'clip_006',
    }
    for random in (False, True):
        stored = grids(dict(store=tmp_path / 'regions', random=random), store)
        cut = grids(dict(data_root=videos, random=random), store)
        for i in range(len(cut)):
            np.random.seed(i)
            a = stored[i]
            np.random.seed(i)
            b = cut[i]
            np.testing.assert_array_equal(a['rgb_mask'], b['rgb_mask'])
            assert np.abs(a['rgb'].astype(int) - b['rgb']).mean() < 3
            assert b['rgb_mask'].any() == (i in (0, 1, 2))


def test_processes_make_no_difference_and_a_second_run_does_nothing(data, tmp_path):
    videos, store = data
    extract_regions(videos, store, tmp_path / 'one', GRID, workers=0)
    extract_regions(videos, store, tmp_path / 'two', GRID, workers=2)
    for name in ('regions.json', 'index.bin', 'grids.bin', 'refused.json'):
        assert (tmp_path / 'one' / name).read_bytes() == (tmp_path / 'two' / name).read_bytes()
    again = extract_regions(videos, store, tmp_path / 'one', GRID, workers=0)
    assert again.kept == 0 and again.skipped == 4 and again.num_refused == 3
    assert len(RegionStore(tmp_path / 'one')) == 4


def test_stopped_half_way_and_run_again_it_is_the_same(data, tmp_path, monkeypatch):
    videos, store = data
    extract_regions(videos, store, tmp_path / 'whole', GRID, workers=0)
    monkeypatch.setattr(ingest, '_COMMIT_SECONDS', -1)
    call, calls = RegionWorker.__call__, []

    def stops(self, job, tick):
        calls.append(job)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return call(self, job, tick)

    monkeypatch.setattr(RegionWorker, '__call__', stops)
    with pytest.raises(KeyboardInterrupt):
        extract_regions(videos, store, tmp_path / 'parts', GRID, workers=0)
    assert 0 < len(RegionStore(tmp_path / 'parts')) < 4
    extract_regions(videos, store, tmp_path / 'parts', GRID, workers=0)
    for name in ('regions.json', 'index.bin', 'grids.bin'):
        assert (tmp_path / 'whole' / name).read_bytes() == (tmp_path / 'parts' / name).read_bytes()


def test_wrong_input(data, tmp_path, write_store):
    videos, store = data
    extract_regions(videos, store, tmp_path / 'regions', GRID, workers=0)
    with pytest.raises(ConfigError, match='found cell=16; expected cell=48'):
        extract_regions(videos, store, tmp_path / 'regions', RegionGrid(), workers=0)
    with pytest.raises(StoreError, match='without pixel positions'):
        extract_regions(videos, write_store(name='bare'), tmp_path / 'x', GRID)
    with pytest.raises(SourceError, match='no folder'):
        extract_regions(tmp_path / 'none', store, tmp_path / 'x', GRID)
