import numpy as np
import pytest

from bharnet_mm.datasets.grid_maker import make_grids
from bharnet_mm.datasets.regions import ClipRegions, RegionGrid, forearm_length
from bharnet_mm.errors import ConfigError
from bharnet_mm.layouts import get_layout

COCO = get_layout('coco')
WIDTH, HEIGHT = 120, 90


def noise(seed=0):
    return np.random.default_rng(seed).integers(1, 255, (HEIGHT, WIDTH, 3), np.uint8)


def person(wrists, forearm=16.0):
    """Pixels (1, V, 2) of a person with known wrists, and elbows a forearm below them."""
    out = np.full((1, COCO.num_joints, 2), -1, np.float32)
    for side, wrist in zip(('left', 'right'), wrists, strict=True):
        out[:, COCO.index(f'{side}_wrist')] = wrist
        if wrist[0] >= 0:
            out[:, COCO.index(f'{side}_elbow')] = np.add(wrist, (0, forearm))
    return out


WRISTS = RegionGrid(('left_wrist', 'right_wrist'), num_frames=1, cell=16, size=1.0, num_offsets=1)


def column(people, image=None, grid=WRISTS, image_size=(0, 0), visible=None):
    pixel = np.stack(people)
    visible = np.ones(pixel.shape[:2], bool) if visible is None else np.array(visible)[:, None]
    regions = ClipRegions(grid, pixel, visible, COCO, image_size)
    return regions.column(0, noise() if image is None else image)


def test_a_region_of_the_size_of_a_cell_is_that_piece_of_the_picture():
    image = noise()
    picture, mask = column([person([(40, 30), (70, 50)])], image)
    # The middle of the joint's pixel is (40.5, 30.5): 7.5 pixels before, 8.5 after it.
    np.testing.assert_array_equal(picture[:16], image[23:39, 33:49])
    np.testing.assert_array_equal(picture[16:], image[43:59, 63:79])
    assert mask.tolist() == [True, True]


def test_two_people_stand_side_by_side_as_in_the_picture():
    image = noise()
    right_one, left_one = person([(90, 40), (100, 60)]), person([(20, 30), (30, 50)])
    for people in ([left_one, right_one], [right_one, left_one]):
        picture, mask = column(people, image)
        np.testing.assert_array_equal(picture[:16, :8], image[23:39, 17:25])
        np.testing.assert_array_equal(picture[:16, 8:], image[33:49, 87:95])
        assert mask.all()
    alone, _ = column([left_one, right_one], image, visible=[True, False])
    np.testing.assert_array_equal(alone[:16], image[23:39, 13:29])


def test_beyond_the_edge_is_black_and_beyond_the_picture_is_missing():
    image = noise()
    picture, mask = column([person([(2, 40), (200, 40)])], image)
    assert not picture[:16, :5].any() and mask.tolist() == [True, False]
    np.testing.assert_array_equal(picture[:16, 5:], image[33:49, :11])
    assert not picture[16:].any()
    for unknown in ((-1, -1), (np.nan, 5)):
        picture, mask = column([person([(40, 30), unknown])], image)
        assert mask.tolist() == [True, False] and not picture[16:].any()


def test_a_video_of_another_size_gives_the_same_regions():
    people = [person([(39.5, 29.5), (69.5, 49.5)])]
    picture, mask = column(people, noise())
    big = np.kron(noise(), np.ones((2, 2, 1), np.uint8))
    again, mask_again = column(people, big, image_size=(WIDTH, HEIGHT))
    np.testing.assert_array_equal(again, picture)
    np.testing.assert_array_equal(mask_again, mask)


def test_the_flipped_video_gives_the_mirrored_grid():
    rng = np.random.default_rng(1)
    grid = RegionGrid(num_frames=1, cell=16, size=1.3, num_offsets=1)
    swap = COCO.swap_index
    for people in (1, 2):
        pixel = rng.uniform(5, 85, (people, 1, COCO.num_joints, 2)).astype(np.float32)
        visible = np.ones((people, 1), bool)
        image = noise()
        there = grid.assemble([ClipRegions(grid, pixel, visible, COCO).column(0, image)])
        flipped = pixel[:, :, swap].copy()
        flipped[..., 0] = WIDTH - 1 - flipped[..., 0]
        back = ClipRegions(grid, flipped, visible, COCO).column(0, image[:, ::-1])
        rgb, mask = grid.mirror(*there)
        assert np.abs(rgb.astype(int) - grid.assemble([back])[0]).max() <= 1
        np.testing.assert_array_equal(mask, grid.assemble([back])[1])
        np.testing.assert_array_equal(grid.mirror(rgb, mask)[0], there[0])


def test_mirroring_wants_both_sides():
    grid = RegionGrid(('head', 'left_wrist'))
    with pytest.raises(ConfigError, match="without 'right_wrist'"):
        grid.mirror(*grid.empty())


def test_frames_are_taken_evenly_from_those_in_which_somebody_is_visible():
    visible = np.zeros((2, 40), bool)
    visible[0, 5:20] = visible[1, 25:40] = True
    pixel = np.ones((2, 40, COCO.num_joints, 2), np.float32)
    grid = RegionGrid(('head',), num_frames=5, num_offsets=3)
    regions = ClipRegions(grid, pixel, visible, COCO)
    seen = np.r_[5:20, 25:40]
    for offset, place in enumerate((1, 3, 5)):
        # Pieces of six frames; a sixth, a half, five sixths into them.
        np.testing.assert_array_equal(regions.frames(offset), seen[np.arange(5) * 6 + place])
    single = ClipRegions(grid, pixel, np.arange(40)[None].repeat(2, 0) == 7, COCO)
    assert single.frames(0).tolist() == [7] * 5
    assert ClipRegions(grid, pixel, ~visible & False, COCO).empty


def test_a_grid_is_made_of_its_columns():
    grid = RegionGrid(('head', 'left_wrist'), num_frames=3, cell=8, num_offsets=1)
    pixel = np.full((1, 9, COCO.num_joints, 2), 20, np.float32)
    regions = ClipRegions(grid, pixel, np.ones((1, 9), bool), COCO)
    rng = np.random.default_rng(0)
    columns = {
        t: (rng.integers(0, 255, (16, 8, 3), np.uint8), np.array([t == 4, True])) for t in range(9)
    }
    [(rgb, mask)] = make_grids(regions, [0], columns)
    assert rgb.shape == (3, 16, 24) and rgb.dtype == np.uint8 and rgb.flags.c_contiguous
    for f, t in enumerate((1, 4, 7)):
        np.testing.assert_array_equal(
            rgb[:, :, 8 * f : 8 * f + 8].transpose(1, 2, 0), columns[t][0]
        )
    np.testing.assert_array_equal(mask, [[False, True, False], [True] * 3])


def test_the_forearm_is_the_longest_of_its_signs():
    points = np.zeros((4, COCO.num_joints, 2))
    known = np.ones((4, COCO.num_joints), bool)
    points[0, COCO.index('left_elbow')] = (0, 30)  # forearm 30, upper arm 30
    points[1, COCO.index('right_shoulder')] = (
        100,
        0,
    )  # shoulders 100; arm and trunk of that side too
    points[2, COCO.index('right_hip')] = (0, 60)  # trunk
    points[3] = points[0]
    known[3, COCO.index('left_elbow')] = False
    np.testing.assert_allclose(forearm_length(points, known, COCO), [30, 85, 30, 0])
    bare = dict(
        name='bare', joints=('a', 'b'), edges=(('a', 'b'),), parents=dict(b='a'), center=('a',),
        scale=('a', 'b'),
    )  # fmt: skip
    assert forearm_length(np.array([[0, 0], [0, 8.0]]), np.ones(2, bool), get_layout(bare)) == 4


@pytest.mark.parametrize(
    'name, value',
    [
        ('parts', ()),
        ('parts', ('head', 'head')),
        ('num_frames', 0),
        ('cell', 47),
        ('size', 0),
        ('max_persons', 3),
        ('num_offsets', 2),
    ],
)
def test_bad_arguments(name, value):
    with pytest.raises(ConfigError, match=f'region grid, {name}'):
        RegionGrid(**{name: value})


def test_a_layout_without_the_part():
    layout = get_layout('mediapipe_upper_body')
    pixel = np.zeros((1, 1, layout.num_joints, 2))
    with pytest.raises(ConfigError, match="no part 'left_ankle'"):
        ClipRegions(RegionGrid(), pixel, np.ones((1, 1), bool), layout)
