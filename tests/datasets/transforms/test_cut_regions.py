import cv2
import numpy as np
import pytest
from videos import write_video

from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.store.regions import RegionWriter, encode
from bharnet_mm.datasets.transforms import (
    CutRegions,
    FormatBodyHand,
    PackBodyHand,
    RandomMirror,
    SampleWindow,
)
from bharnet_mm.datasets.video import open_video
from bharnet_mm.errors import ClipError, ConfigError, SourceError

SIZE = (192, 108)


@pytest.fixture
def results(make_results):
    """A clip of 50 frames, 10 to 59 of its video; joints in a tenth of full HD."""
    results = make_results(persons=2, pixels=True)
    pixel = np.nan_to_num(results['body_pixel'] / 10, nan=1e6)
    return results | dict(body_pixel=pixel, image_size=SIZE)


@pytest.fixture
def folder(tmp_path, results):
    """Its video: blurred noise, so that no two places look alike and resizing changes little."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (60, SIZE[1], SIZE[0], 3), np.uint8)
    frames = [cv2.normalize(cv2.GaussianBlur(f, (0, 0), 3), None, 0, 255, 32) for f in frames]
    write_video(tmp_path / results['video'], frames)
    return tmp_path


def same(a, b, atol=0):
    np.testing.assert_array_equal(a['rgb_mask'], b['rgb_mask'])
    assert np.abs(a['rgb'].astype(int) - b['rgb']).max() <= atol


def test_cells_show_their_joints_in_their_frames(results, folder):
    before = {key: np.copy(value) for key, value in results.items()}
    out = CutRegions(folder, num_frames=4, cell=8, size=1.0, num_offsets=1)(results)
    for key, value in before.items():
        np.testing.assert_array_equal(results[key], value)
    assert out['rgb'].shape == (3, 40, 32) and out['rgb'].dtype == np.uint8
    assert out['rgb_mask'].shape == (5, 4) and out['rgb_mask'].mean() > 0.5
    video = list(open_video(folder / results['video'])[1])
    layout = results['body_layout']
    for column, t in enumerate((6, 18, 31, 43)):  # of 48 frames: 24 and 25 are missing
        seen = np.flatnonzero(results['body_visible'][:, t])
        for row, part in enumerate(out['rgb_grid'].parts):
            if len(seen) == 2 or not out['rgb_mask'][row, column]:
                continue
            x, y = results['body_pixel'][0, t, layout.part_index(part)[0]].round().astype(int)
            middle = video[t + 10][y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1))
            cell = out['rgb'][:, 8 * row + 3 : 8 * row + 5, 8 * column + 3 : 8 * column + 5]
            assert np.abs(cell.mean(axis=(1, 2)) - middle).max() < 30


def test_masked_frames_have_no_path_to_the_picture(results, folder):
    cut = CutRegions(folder)
    first = cut(results)
    for value in (0.0, np.nan, 50.0):
        pixel = results['body_pixel'].copy()
        pixel[~results['body_visible']] = value
        same(cut(results | dict(body_pixel=pixel)), first)


def test_random_takes_one_of_the_offsets(results, folder, seeded):
    seeded(0)
    fixed = CutRegions(folder)
    random = CutRegions(folder, random=True)
    same(fixed(results), fixed(results))
    seen = {random(results)['rgb'].tobytes() for _ in range(20)}
    assert len(seen) == 3 and fixed(results)['rgb'].tobytes() in seen


def test_mirroring_before_and_after_is_the_same(results, folder):
    mirror, cut = RandomMirror(prob=1.0), CutRegions(folder)
    after, before = mirror(cut(results)), cut(mirror(results))
    same(after, before, atol=1)
    same(mirror(after), cut(results))
    assert np.abs(after['rgb'].astype(int) - cut(results)['rgb']).mean() > 10


def test_the_store_gives_the_same_up_to_jpeg(results, folder):
    grid = RegionGrid()
    pictures = {}
    np.random.seed(0)
    while len(pictures) < 3:
        state = np.random.get_state()
        offset = np.random.randint(3)
        np.random.set_state(state)
        pictures[offset] = CutRegions(folder, random=True)(results)
    with RegionWriter(folder / 'regions', grid) as writer:
        encoded = [encode(pictures[s]['rgb'], 90) for s in range(3)]
        masks = np.stack([pictures[s]['rgb_mask'] for s in range(3)])
        writer.add(results['clip_id'], encoded, masks)
    stored, cut = CutRegions(store=folder / 'regions'), CutRegions(folder)
    mirrored = RandomMirror(prob=1.0)(results)
    for clip in (results, mirrored):
        assert np.abs(stored(clip)['rgb'].astype(int) - cut(clip)['rgb']).mean() < 3
        np.testing.assert_array_equal(stored(clip)['rgb_mask'], cut(clip)['rgb_mask'])
    for seed in range(6):
        np.random.seed(seed)
        one = CutRegions(store=folder / 'regions', random=True)(results)
        np.random.seed(seed)
        other = CutRegions(folder, random=True)(results)
        assert np.abs(one['rgb'].astype(int) - other['rgb']).mean() < 3


def test_a_resampled_clip_still_has_its_pictures(results, folder):
    out = CutRegions(folder)(SampleWindow(num_frames=120, window=1.0)(results))
    assert out['rgb_mask'].any(axis=0).all()


@pytest.mark.parametrize('broken', ('absent', 'garbage', 'short'))
def test_a_bad_video_is_an_error_or_a_missing_picture(broken, results, folder):
    path = folder / results['video']
    path.unlink()
    if broken == 'garbage':
        path.write_bytes(b'nothing' * 999)
    elif broken == 'short':
        write_video(path, [np.zeros((108, 192, 3), np.uint8)] * 20)
    else:
        write_video(folder / 'other.avi', [np.zeros((108, 192, 3), np.uint8)])
    with pytest.raises(SourceError, match='S001C001P001R001A001'):
        CutRegions(folder)(results)
    cut = CutRegions(folder, missing='mask')
    out = cut(results)
    assert not out['rgb'].any() and not out['rgb_mask'].any()
    cut(results)
    assert cut.num_untreated == 2


def test_a_clip_that_shows_nobody_has_no_picture(results, folder):
    out = CutRegions(folder)(results | dict(body_visible=np.zeros((2, 50), bool)))
    assert out['rgb'].shape == (3, 240, 240)
    assert not out['rgb'].any() and not out['rgb_mask'].any()


def test_bad_arguments(results, folder):
    for arguments in (dict(), dict(data_root='a', store='b')):
        with pytest.raises(ConfigError, match='either data_root'):
            CutRegions(**arguments)
    with pytest.raises(ConfigError, match='exists'):
        CutRegions(folder / 'none', missing='mask')
    with pytest.raises(ConfigError, match="'error' or 'mask'"):
        CutRegions(folder, missing='skip')
    with pytest.raises(ClipError, match='no pixel positions'):
        CutRegions(folder, missing='mask')(results | dict(body_pixel=None))
    with RegionWriter(folder / 'regions', RegionGrid(cell=16)):
        pass
    with pytest.raises(ConfigError, match='cell=16'):
        CutRegions(store=folder / 'regions')


def test_packed_beside_body_and_hands(results, folder):
    out = CutRegions(folder)(results)
    inputs = PackBodyHand()(FormatBodyHand(2)(out))['inputs']
    assert list(inputs) == ['body', 'body_mask', 'hand', 'hand_mask', 'rgb', 'rgb_mask']
    np.testing.assert_array_equal(inputs['rgb'].numpy(), out['rgb'])
    np.testing.assert_array_equal(inputs['rgb_mask'].numpy(), out['rgb_mask'])
