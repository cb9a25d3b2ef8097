import numpy as np
import pytest

from bharnet_mm.datasets.transforms import RandomScale, SelectChannels
from bharnet_mm.errors import ClipError


@pytest.fixture
def matrices(fitted):
    """The matrices that a transform applied, the same to body and hands."""

    def find(transform, results, num=100):
        for _ in range(num):
            output = transform(results)
            body, hand = (
                fitted(results[part], output[part], results[f'{part}_visible'])
                for part in ('body', 'hand')
            )
            np.testing.assert_allclose(body[: len(hand), : len(hand)], hand, atol=2e-3)
            yield body

    return find


def test_one_factor_per_axis_for_body_and_hands(make_results, seeded, matrices):
    seeded(0)
    found = np.array(list(matrices(RandomScale(0.1), make_results(frames=5))))
    diagonal = np.einsum('nii->ni', found)
    np.testing.assert_allclose(found - np.eye(3) * diagonal[:, None], 0, atol=1e-4)
    assert 0.9 - 1e-4 <= diagonal.min() < 0.92 and 1.08 < diagonal.max() <= 1.1 + 1e-4
    assert np.abs(diagonal[:, 0] - diagonal[:, 1]).max() > 0.05


def test_one_factor_for_all_axes(make_results, matrices):
    for matrix in matrices(RandomScale(0.3, per_axis=False), make_results(frames=5), 20):
        np.testing.assert_allclose(matrix, np.eye(3) * matrix[0, 0], atol=1e-4)


def test_shear(make_results, seeded, matrices):
    seeded(0)
    found = np.array(list(matrices(RandomScale(0.0, shear=0.2), make_results(frames=5))))
    np.testing.assert_allclose(np.einsum('nii->ni', found), 1, atol=1e-4)
    off = found[:, ~np.eye(3, dtype=bool)]
    assert -0.2 - 1e-4 <= off.min() < -0.18 and 0.18 < off.max() <= 0.2 + 1e-4


def test_hands_in_the_image_plane_share_x_and_y(make_results, matrices):
    results = SelectChannels('hand')(make_results(frames=20))
    assert len(list(matrices(RandomScale(0.2), results, 5))) == 5


def test_other_numbers_of_channels(make_results):
    results = make_results()
    results['body'] = np.concatenate([results['body'], results['body'][..., :1]], axis=-1)
    with pytest.raises(ClipError, match="4 channels in 'body'"):
        RandomScale()(results)
