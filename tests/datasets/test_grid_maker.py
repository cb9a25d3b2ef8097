"""Motion, the square of a person and the whole scene, and jittered cells."""

import numpy as np
import pytest

from bharnet_mm.datasets.grid_maker import GridMaker, motion_of
from bharnet_mm.datasets.regions import ClipRegions, RegionGrid
from bharnet_mm.layouts import get_layout

LAYOUT = get_layout('coco')
WIDTH, HEIGHT = 96, 64


def clip(frames=6, persons=1, seed=0):
    """Joints in the right half of the picture that drift, and a picture of each frame."""
    rng = np.random.default_rng(seed)
    start = rng.uniform((40, 10), (70, 50), (persons, 1, LAYOUT.num_joints, 2))
    pixel = start + np.arange(frames)[None, :, None, None] * 0.5
    images = rng.integers(0, 256, (frames, HEIGHT, WIDTH, 3)).astype(np.uint8)
    return pixel.astype(np.float32), images


def make(grid, pixel, images, size=(WIDTH, HEIGHT)):
    regions = ClipRegions(grid, pixel, np.ones(pixel.shape[:2], bool), LAYOUT, size)
    maker = GridMaker(regions, [grid.middle])
    for t in maker.wanted:
        maker.add(t, images[t])
    return regions, maker.grids()[0]


def test_motion_is_the_difference_of_the_same_square_in_the_next_frame():
    grid = RegionGrid(('head', 'left_wrist'), num_frames=6, cell=8, num_offsets=1, motion=True)
    pixel, images = clip()
    regions, (rgb, mask) = make(grid, pixel, images)
    assert rgb.shape == (4, 16, 48) and mask.all()
    for t in range(6):
        other = 4 if t == 5 else t + 1
        here, there = regions.column(t, images[t])[0], regions.column(t, images[other])[0]
        expected = np.minimum(2 * np.abs(here.astype(int) - there).max(-1), 255)
        np.testing.assert_array_equal(rgb[3, :, 8 * t : 8 * t + 8], expected)
    colours = make(RegionGrid(grid.parts, 6, 8, num_offsets=1), pixel, images)[1][0]
    np.testing.assert_array_equal(rgb[:3], colours)


@pytest.mark.parametrize('frames', [1, 2, 6])
def test_a_video_that_stands_still_has_no_motion(frames):
    grid = RegionGrid(('head', 'person', 'scene'), num_frames=3, cell=8, motion=True)
    pixel, images = clip(frames)
    rgb, mask = make(grid, pixel, images[:1].repeat(frames, axis=0))[1]
    assert mask.all() and rgb[:3].any() and not rgb[3].any()


def test_motion_of_pictures():
    a = np.array([[[10, 20, 30], [0, 0, 255]]], np.uint8)
    b = np.array([[[12, 15, 30], [255, 0, 255]]], np.uint8)
    np.testing.assert_array_equal(motion_of(a, b), [[10, 255]])


def test_the_square_of_a_person_holds_its_joints_and_the_scene_is_the_frame():
    grid = RegionGrid(('person', 'scene'), num_frames=1, cell=8, num_offsets=1)
    pixel, _ = clip(frames=3)
    pixel[0, :, LAYOUT.index('left_ankle')] = (500, 500)  # a guess outside of the picture
    regions = ClipRegions(grid, pixel, np.ones((1, 3), bool), LAYOUT, (WIDTH, HEIGHT))
    person, scene = regions.boxes(1, (WIDTH, HEIGHT))
    joints = np.delete(pixel[0, 1], LAYOUT.index('left_ankle'), axis=0) + 0.5
    low, high = (np.array(person.center) + s * np.array(person.size) / 2 for s in (-1, 1))
    assert person.size[0] == person.size[1] < 90
    assert (joints > low).all() and (joints < high).all()
    assert scene.center == (WIDTH / 2, HEIGHT / 2) and scene.size == (WIDTH, WIDTH)
    # Filmed at twice the size, everything is twice as large.
    larger = regions.boxes(1, (2 * WIDTH, 2 * HEIGHT))
    np.testing.assert_allclose(np.array(larger[0].size), 2 * np.array(person.size))
    np.testing.assert_allclose(np.array(larger[0].center), 2 * np.array(person.center))


def test_two_people_share_the_cell_of_a_person_and_have_one_scene():
    grid = RegionGrid(('person', 'scene'), num_frames=1, cell=8, num_offsets=1)
    pixel, _ = clip(persons=2)
    regions = ClipRegions(grid, pixel, np.ones((2, 6), bool), LAYOUT, (WIDTH, HEIGHT))
    boxes = regions.boxes(0, (WIDTH, HEIGHT))
    assert [(box.row, box.of) for box in boxes] == [(0, 2), (1, 1), (0, 2)]


def test_a_mirrored_grid_is_that_of_the_mirrored_video():
    grid = RegionGrid(('head', 'person', 'scene'), num_frames=3, cell=8, motion=True)
    pixel, _ = clip()
    y, x = np.mgrid[:HEIGHT, :WIDTH] / 12
    images = [127 + 90 * np.sin(x + k * y)[..., None] * (1, -1, 0.5) for k in range(6)]
    images = np.stack(images).astype(np.uint8)
    rgb, mask = make(grid, pixel, images)[1]
    pixel[..., 0] = WIDTH - 1 - pixel[..., 0]
    flipped, flipped_mask = make(grid, pixel[:, :, LAYOUT.swap_index], images[:, :, ::-1])[1]
    mirrored, mirrored_mask = grid.mirror(rgb, mask)
    np.testing.assert_array_equal(mirrored_mask, flipped_mask)
    assert np.abs(mirrored.astype(int) - flipped).mean() < 8  # whole pixels are cut


def test_jitter():
    grid = RegionGrid(('head', 'person'), num_frames=3, cell=16, motion=True)
    rgb = np.zeros((4, 32, 48), np.uint8)
    grid.cells(rgb)[:, 1, :, 2] = 200  # one flat cell
    np.random.seed(0)
    moved = grid.jitter(rgb, 0.2)
    assert moved.shape == rgb.shape and not np.array_equal(moved, rgb)
    # Cells do not leak into each other, colours change alike, motion keeps its brightness.
    cells = grid.cells(moved)
    assert len(np.unique(cells[:3, 0])) == 1 and len(np.unique(cells[:3, 1, :, 2])) == 1
    assert (cells[3, 1, :, 2] == 200).all() and not cells[3, 0].any()
    np.testing.assert_array_equal(grid.jitter(rgb, 0.0), rgb)
    wave = np.random.default_rng(1).integers(0, 256, rgb.shape).astype(np.uint8)
    assert not np.array_equal(grid.jitter(wave, 0.1), grid.jitter(wave, 0.1))
