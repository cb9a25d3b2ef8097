from dataclasses import replace

import cv2
import numpy as np
import pytest
from recognizers import CARD, FakeRecognizer, SquareEstimator, frame

from bharnet_mm import BodyHandInferencer
from bharnet_mm.apis.recognizer import NO_GRID
from bharnet_mm.apis.region_grids import GridCutter
from bharnet_mm.datasets import ClipStore, StoreWriter
from bharnet_mm.datasets.clip import pipeline_input
from bharnet_mm.datasets.extraction.regions import extract_regions
from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.transforms import CutRegions
from bharnet_mm.errors import ConfigError
from bharnet_mm.layouts import get_layout

GRID = dict(parts=['head', 'left_wrist', 'right_wrist'], num_frames=3, cell=16)
M_CARD = replace(
    CARD,
    model={'type': 'BHaRNetM', 'rgb': {'type': 'BodyGuidedRGB'}},
    pipeline=[dict(type='CutRegions', random=False, missing='mask', **GRID), *CARD.pipeline],
)


class Looking(FakeRecognizer):
    """Has a rgb expert that answers where a region is visible."""

    def __init__(self):
        super().__init__(M_CARD)
        self.grids = []

    def scores(self, clips, grids=None):
        grids = [None] * len(clips) if grids is None else list(grids)
        self.grids += grids
        scores = super().scores(clips)
        there = [grid is not None and grid[1].any() for grid in grids]
        return scores | {'rgb': np.where(np.array(there)[:, None], scores['fused'], np.nan)}


def write_video(path, pictures):
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (width, height))
    for picture in pictures:
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    return path


def writer_of(path):
    xy = ('x', 'y')
    return StoreWriter(
        path,
        'made',
        body_layout='coco',
        body_channels=xy,
        hand_channels=xy,
        classes=CARD.classes,
        pixels=True,
    )


@pytest.fixture
def video(tmp_path):
    noise = np.random.default_rng(0).integers(0, 90, (12, 120, 200, 3), dtype=np.uint8)
    pictures = [np.maximum(frame(130 + 4 * t), noise[t]) for t in range(12)]
    return write_video(tmp_path / 'a.avi', pictures)


@pytest.fixture
def looking():
    return BodyHandInferencer(Looking(), backend=SquareEstimator())


def test_a_video_is_cut_as_in_training(looking, video):
    (result,) = looking(video)
    model = looking.recognizer
    (clip,), (grid,) = model.clips, model.grids
    # The training's way: the transform reads the video by itself, at the clip's frames.
    cut = CutRegions(data_root=video.parent, **GRID)
    head = pipeline_input(replace(clip, video=video.name), M_CARD.layout, get_layout('hand'))
    truth = cut(head)
    np.testing.assert_array_equal(grid[0], truth['rgb'])
    np.testing.assert_array_equal(grid[1], truth['rgb_mask'])
    assert grid[1].all() and grid[0].std() > 5
    assert result.experts['rgb'] and result.notes == ()


def test_frames_and_windows_have_grids(looking):
    results = list(looking([frame(40)] * 12 + [frame(160)] * 12, fps=10))
    assert len(results) > 2
    assert all(result.experts['rgb'] and not result.notes for result in results)


def test_nobody_has_no_grid(looking):
    (result,) = looking([frame()] * 5)
    assert result.experts['rgb'] == () and result.notes == (NO_GRID,)


def test_a_store_takes_the_region_store_beside_it(looking, video, tmp_path):
    list(looking(video))
    clip = replace(looking.recognizer.clips.pop(), clip_id='a', video=video.name, label=0)
    path = tmp_path / 'store'
    with writer_of(path) as writer:
        writer.add(clip)
    (result,) = looking(path)
    assert result.notes == (NO_GRID, f'there is no region store {tmp_path / "store_regions"}')
    assert result.to_dict()['notes'] == list(result.notes)
    extract_regions(tmp_path, path, tmp_path / 'store_regions', RegionGrid(**GRID), workers=0)
    (result,) = looking(path)
    assert result.experts['rgb'] and not result.notes
    rgb, mask = looking.recognizer.grids[-1]
    truth, _ = looking.recognizer.grids[0]
    assert mask.all() and np.abs(rgb.astype(int) - truth).mean() < 8  # the store keeps JPEG
    (result,) = looking(ClipStore(path)[0])  # a clip by itself has no store beside it
    assert result.notes == (NO_GRID,)


def test_regions_of_another_kind_are_refused(looking, video, tmp_path):
    list(looking(video))
    clip = replace(looking.recognizer.clips.pop(), clip_id='a', video=video.name, label=0)
    with writer_of(tmp_path / 's') as out:
        out.add(clip)
    other = RegionGrid(**GRID | dict(cell=24))
    extract_regions(tmp_path, tmp_path / 's', tmp_path / 's_regions', other, workers=0)
    with pytest.raises(ConfigError, match='cell=24'):
        list(looking(tmp_path / 's'))


def test_a_grid_of_another_size_is_refused():
    step = CutRegions(given=True, **GRID)
    rgb, mask = RegionGrid(**GRID | dict(cell=24)).empty()
    with pytest.raises(Exception, match='a grid'):
        step(dict(clip_id='c', rgb=rgb, rgb_mask=mask))


def test_the_nearest_image_takes_the_place_of_a_dropped_frame(looking, video):
    list(looking(video))
    clip = looking.recognizer.clips[0]
    step = M_CARD.pipeline[0] | dict(motion=True)
    cutter = GridCutter(replace(M_CARD, pipeline=[step, *CARD.pipeline]))
    facts = (get_layout('coco'), {'body': ('x', 'y'), 'hand': ('x', 'y')})
    images = {int(n): frame(20 * n) for n in clip.frame_index}
    kept = {n: image for n, image in images.items() if n % 2 == 0}
    filled = {n: kept[min(kept, key=lambda m: abs(m - n))] for n in images}
    for a, b in zip(cutter.cut(clip, *facts, kept), cutter.cut(clip, *facts, filled), strict=True):
        np.testing.assert_array_equal(a, b)
