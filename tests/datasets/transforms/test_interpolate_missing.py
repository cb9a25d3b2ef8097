import numpy as np
import pytest

from bharnet_mm.datasets.transforms import InterpolateMissing


@pytest.mark.parametrize('max_gap', (1, 2, 5, 100))
@pytest.mark.parametrize('seed', range(4))
def test_against_a_plain_loop(max_gap, seed, make_results):
    results = make_results(frames=40, persons=2, seed=seed, pixels=True)
    rng = np.random.default_rng(seed)
    results['hand_visible'] = results['hand_visible'] & (rng.random((2, 2, 40)) > 0.4)
    output = InterpolateMissing(max_gap)(results)
    for key in ('body', 'hand', 'body_pixel'):
        mask = 'hand_visible' if key == 'hand' else 'body_visible'
        for at in np.ndindex(results[key].shape[:-3]):
            x, visible = results[key][at].copy(), results[mask][at].copy()
            seen = np.flatnonzero(visible)
            for a, b in zip(seen, seen[1:], strict=False):
                if 1 < b - a <= max_gap + 1:
                    for t in range(a + 1, b):
                        x[t] = x[a] + (t - a) / (b - a) * (x[b] - x[a])
                        visible[t] = True
            np.testing.assert_array_equal(output[mask][at], visible)
            np.testing.assert_allclose(
                output[key][at][visible], x[visible], atol=1e-3 if 'pixel' in key else 1e-6
            )
            # What was visible is untouched.
            old = results[mask][at]
            np.testing.assert_array_equal(output[key][at][old], results[key][at][old])


def test_parts_not_named_stay(make_results):
    results = make_results(pixels=True)
    output = InterpolateMissing(parts=('hand',))(results)
    for key in ('body', 'body_visible', 'body_pixel'):
        assert output[key] is results[key]
    assert output['hand_visible'].sum() > results['hand_visible'].sum()
