import numpy as np

from bharnet_mm.datasets.transforms import DropAxis


def test_one_axis_of_all_parts_is_lost_in_half_of_the_clips(make_results, seeded):
    results = make_results(frames=6, gaps=False)
    seeded(0)
    lost = []
    for _ in range(600):
        done = DropAxis(0.5)(results)
        zero = [
            ~done[part][done[f'{part}_visible']].reshape(-1, 3).any(0) for part in ('body', 'hand')
        ]
        np.testing.assert_array_equal(*zero)
        assert zero[0].sum() <= 1
        lost.append(zero[0])
        kept = ~zero[0]
        np.testing.assert_array_equal(done['body'][..., kept], results['body'][..., kept])
    np.testing.assert_allclose(np.mean(lost, axis=0), 1 / 6, atol=0.05)


def test_parts_and_certainty(make_results):
    results = make_results(frames=6, gaps=False)
    done = DropAxis(1.0, parts=('hand',))(results)
    np.testing.assert_array_equal(done['body'], results['body'])
    assert (~done['hand'].reshape(-1, 3).any(0)).sum() == 1
    np.testing.assert_array_equal(DropAxis(0.0)(results)['hand'], results['hand'])
