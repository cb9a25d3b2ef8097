import numpy as np
import pytest

from bharnet_mm.datasets.transforms import DropHands


@pytest.mark.parametrize('mode', ('clip', 'hand', 'frames'))
def test_hands(mode, make_results, seeded):
    results = make_results(frames=10, persons=2, gaps=False)
    transform = DropHands(0.3, mode)
    seeded(0)
    visible = np.array([transform(results)['hand_visible'] for _ in range(1000)])
    np.testing.assert_allclose(visible.mean(axis=0), 0.7, atol=0.06)
    by_frame = (visible == visible[..., :1]).all()
    by_hand = (visible == visible[:, :1, :1]).all()
    assert (by_frame, by_hand) == dict(
        clip=(True, True), hand=(True, False), frames=(False, False)
    )[mode]


def test_hands_that_are_missing_stay_missing(make_results):
    results = make_results(persons=2)
    np.testing.assert_array_equal(
        DropHands(0.0, 'frames')(results)['hand_visible'], results['hand_visible']
    )
    assert not DropHands(1.0)(results)['hand_visible'].any()
