import numpy as np
import pytest

from bharnet_mm.datasets.transforms import RandomNoise


def test_standard_deviation_is_a_fraction_of_each_size(make_results):
    results = make_results(frames=100, persons=2)
    results['hand'] = results['hand'] * np.float32([1, 3])[:, None, None, None]
    output = RandomNoise(dict(body=0.1, hand=0.02))(results)
    for part, sigma in (('body', 0.1), ('hand', 0.02)):
        a, b = results[f'{part}_layout'].scale_index
        for at in np.ndindex(results[part].shape[:-3]):
            visible = results[f'{part}_visible'][at]
            old, new = results[part][at][visible], output[part][at][visible]
            size = np.linalg.norm(old[:, a] - old[:, b], axis=-1).mean()
            noise = (new - old) / (sigma * size)
            assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.05
            # Independent between frames and joints.
            assert abs(np.mean(noise[1:] * noise[:-1])) < 0.1
            assert abs(np.mean(noise[:, 1:] * noise[:, :-1])) < 0.1


def test_parts_not_named_stay(make_results):
    results = make_results()
    output = RandomNoise(dict(hand=0.1))(results)
    assert output['body'] is results['body']
    assert output['hand_visible'] is results['hand_visible']


@pytest.mark.parametrize('part', ('body', 'hand'))
def test_without_a_size_there_is_no_noise(part, make_results):
    results = make_results(gaps=False)
    results[part] = np.ones_like(results[part])
    transform = RandomNoise(dict(body=0.1, hand=0.1))
    np.testing.assert_array_equal(transform(results)[part], 1)
    assert transform.num_untreated == 1


def test_two_calls_differ(make_results):
    results = make_results(gaps=False)
    transform = RandomNoise(dict(body=0.1))
    assert not np.array_equal(transform(results)['body'], transform(results)['body'])
