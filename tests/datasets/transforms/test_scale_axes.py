import numpy as np
import pytest

from bharnet_mm.datasets.transforms import RandomRotate, ScaleAxes


def over_visible(results, part):
    x = results[part].reshape(-1, *results[part].shape[-3:])
    return x[results[f'{part}_visible'].reshape(len(x), -1)].reshape(-1, x.shape[-1])


@pytest.mark.parametrize('gaps', (False, True))
def test_bodies_fill_the_range_together_and_each_hand_by_itself(make_results, gaps):
    results = make_results(frames=12, persons=2, gaps=gaps)
    done = ScaleAxes(('body', 'hand'))(results)
    body = over_visible(done, 'body')
    np.testing.assert_allclose(body.min(0), -1, atol=1e-6)
    np.testing.assert_allclose(body.max(0), 1, atol=1e-6)
    for person in range(2):
        for side in range(2):
            shown = done['hand_visible'][person, side]
            if shown.any():
                hand = done['hand'][person, side][shown].reshape(-1, 3)
                np.testing.assert_allclose(
                    [hand.min(0), hand.max(0)], [[-1] * 3, [1] * 3], atol=1e-6
                )
    assert done['body'].dtype == np.float32


def test_is_affine_and_forgets_size_and_place(make_results):
    results = make_results(frames=8)
    moved = results | {'body': (results['body'] * [2, 0.5, 3] + [5, -1, 0.3]).astype(np.float32)}
    one, other = (over_visible(ScaleAxes()(r), 'body') for r in (results, moved))
    np.testing.assert_allclose(one, other, atol=1e-4)
    np.testing.assert_array_equal(results['hand'], ScaleAxes()(results)['hand'])


def test_a_flat_axis_becomes_zero(make_results):
    results = make_results(frames=8)
    flat = results['body'].copy()
    flat[..., 2] = 0.7
    done = ScaleAxes()(results | {'body': flat})
    assert not over_visible(done, 'body')[:, 2].any()


def test_comes_after_the_rotation(make_results, seeded):
    seeded(0)
    turned = RandomRotate(theta=1.0)(make_results(frames=8))
    body = over_visible(ScaleAxes()(turned), 'body')
    np.testing.assert_allclose(np.abs(body).max(0), 1, atol=1e-6)
