import numpy as np
import pytest

from bharnet_mm.datasets.transforms import RandomRotate, SelectChannels
from bharnet_mm.datasets.transforms.random_rotate import rotation
from bharnet_mm.errors import ClipError


def test_rotation_is_the_product_about_x_then_y_then_z():
    a, b, c = 0.3, -0.7, 1.1
    x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    expected = np.array(z) @ np.array(y) @ np.array(x)
    np.testing.assert_allclose(rotation(a, b, c), expected, atol=1e-6)


def test_body_and_hands_turn_alike_in_all_frames(make_results, seeded, fitted):
    results = make_results(persons=2)
    seeded(7)
    angles = np.random.RandomState(7)
    angles.random_sample()  # whether to rotate
    expected = rotation(*angles.uniform(-0.3, 0.3, 3))
    output = RandomRotate(0.3)(results)
    for part in ('body', 'hand'):
        matrix = fitted(results[part], output[part], results[f'{part}_visible'])
        np.testing.assert_allclose(matrix, expected, atol=1e-5)


def test_angles_stay_within_their_limits(make_results, seeded, fitted):
    results = make_results(frames=3, gaps=False)
    transform = RandomRotate((0.0, 0.5, 0.0))
    seeded(0)
    angles = []
    for _ in range(200):
        output = transform(results)
        matrix = fitted(results['body'], output['body'], results['body_visible'])
        np.testing.assert_allclose(matrix[1], [0, 1, 0], atol=1e-4)
        angles.append(np.arctan2(matrix[0, 2], matrix[0, 0]))
    assert -0.5 <= min(angles) < -0.45 and 0.45 < max(angles) <= 0.5


@pytest.mark.parametrize('channels', (2, 3))
def test_image_plane(channels, make_results):
    results = make_results(channels=channels)
    output = RandomRotate(0.3, plane='image')(results)
    for part in ('body', 'hand'):
        visible = results[f'{part}_visible']
        before, after = results[part][visible], output[part][visible]
        if channels == 3:
            np.testing.assert_allclose(after[..., 2], before[..., 2], atol=1e-6)
        length = np.linalg.norm(before[..., :2], axis=-1)
        np.testing.assert_allclose(np.linalg.norm(after[..., :2], axis=-1), length, atol=1e-5)
        assert not np.allclose(after, before)


def test_probability(make_results, seeded):
    results = make_results(frames=2)
    transform = RandomRotate(prob=0.25)
    seeded(0)
    turned = [transform(results)['body'] is not results['body'] for _ in range(400)]
    assert 0.18 < np.mean(turned) < 0.32


def test_space_needs_three_channels_of_what_is_visible(make_results):
    results = SelectChannels('hand')(make_results())
    with pytest.raises(ClipError, match="2 channels in 'hand'.*plane='image'"):
        RandomRotate()(results)
    results['hand_visible'] = np.zeros_like(results['hand_visible'])
    assert RandomRotate()(results)['hand'] is results['hand']
