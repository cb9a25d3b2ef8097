import numpy as np
import pytest
from fake_estimator import HAND

from bharnet_mm.datasets.extraction.geometry import (
    Region,
    hand_size,
    region_from_hand,
    upright_angle,
)


@pytest.mark.parametrize('angle', [0.0, 0.4, -2.5, np.pi])
def test_a_point_of_the_crop_comes_from_where_it_is_mapped_to(angle):
    ys, xs = np.mgrid[:120, :160]
    image = np.stack([xs, ys, np.zeros_like(xs)], -1).astype(np.uint8)  # colour = position
    region = Region((80.3, 61.7), 50.0, angle)
    crop = region.cut(image, 100)
    for row, column in [(20, 30), (50, 50), (75, 61)]:
        # A pixel's centre is half a pixel from its corner; image pixels count from centres.
        expected = region.to_image(np.array([(column + 0.5) / 100, (row + 0.5) / 100])) - 0.5
        np.testing.assert_allclose(crop[row, column, :2], expected, atol=0.6)


def test_outside_the_picture_is_black():
    image = np.full((20, 20, 3), 200, np.uint8)
    crop = Region((0, 0), 20).cut(image, 20)
    assert crop[:8, :8].max() == 0 and crop[12:, 12:].min() == 200


def test_depth_scales_with_the_side():
    out = Region((5, 6), 40).to_image(np.array([[0.5, 0.5, 0.25]]))
    np.testing.assert_allclose(out, [[5, 6, 10]])


def test_upright_turns_the_direction_up():
    start, end = np.array([10.0, 10.0]), np.array([30.0, 15.0])
    region = Region((0, 0), 1, upright_angle(start, end))
    local = (end - start) @ region.axes
    np.testing.assert_allclose(local / np.linalg.norm(local), [0, -1], atol=1e-12)


@pytest.mark.parametrize('turn', [0.0, 1.0, -2.0])
def test_region_of_a_hand_moves_turns_and_grows_with_it(turn):
    hand = HAND[:, :2] * 50
    first = region_from_hand(hand)
    axes = Region((0, 0), 1, turn).axes
    moved = region_from_hand(hand @ axes.T * 1.5 + [7, -3])
    assert moved.side == pytest.approx(1.5 * first.side)
    assert np.exp(1j * moved.angle) == pytest.approx(np.exp(1j * (first.angle + turn)))
    np.testing.assert_allclose(moved.center, axes @ np.array(first.center) * 1.5 + [7, -3])
    assert hand_size(hand @ axes.T * 1.5) == pytest.approx(1.5 * hand_size(hand))


def test_the_region_holds_the_whole_hand():
    hand = HAND[:, :2] * 50
    region = region_from_hand(hand)
    local = (hand - region.center) @ region.axes / region.side
    assert np.abs(local).max() < 0.5
