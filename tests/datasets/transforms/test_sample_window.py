import numpy as np
import pytest
import torch

from bharnet_mm.datasets.transforms import SampleWindow
from bharnet_mm.errors import ConfigError


@pytest.mark.parametrize('frames', (1, 2, 7, 64, 65, 150))
@pytest.mark.parametrize('num_frames', (1, 16, 64))
def test_resize_is_linear_interpolation_without_aligned_corners(frames, num_frames, make_results):
    results = make_results(frames=frames, persons=2, gaps=False, pixels=True)
    output = SampleWindow(num_frames, window=1.0)(results)
    for key, axis in (('body', 1), ('hand', 2), ('body_pixel', 1)):
        x = np.moveaxis(results[key], axis, -1)
        expected = torch.nn.functional.interpolate(
            torch.tensor(x.reshape(1, -1, frames)), size=num_frames, mode='linear'
        )
        expected = expected.numpy().reshape(*x.shape[:-1], num_frames)
        # Pixels are near 1000, so a rounding there is 1e-4.
        atol = 1e-3 if key == 'body_pixel' else 2e-6
        np.testing.assert_allclose(np.moveaxis(output[key], axis, -1), expected, atol=atol, rtol=0)
    assert output['body_visible'].all() and output['hand_visible'].all()
    assert output['total_frames'] == frames


def reference(x, visible, start, length, num_frames):
    """The docstring, frame by frame."""
    out = np.full((num_frames, *x.shape[1:]), np.nan)
    for t in range(num_frames):
        s = min(max((t + 0.5) * length / num_frames - 0.5, 0), length - 1)
        low = int(np.floor(s))
        high, w = min(low + 1, length - 1), s - low
        low, high = low + start, high + start
        if visible[low] and visible[high]:
            out[t] = (1 - w) * x[low] + w * x[high]
        elif visible[low] and w <= 0.5:
            out[t] = x[low]
        elif visible[high] and w >= 0.5:
            out[t] = x[high]
    return out


@pytest.mark.parametrize('frames', (5, 30, 100))
@pytest.mark.parametrize('seed', (0, 1))
def test_resize_next_to_missing_frames(frames, seed, make_results):
    results = make_results(frames=frames, persons=2, seed=seed)
    # The first person is there in the first and last frame, so the range is the whole clip.
    results['body_visible'] = results['body_visible'].copy()
    results['body_visible'][0, [0, -1]] = True
    results['body'] = np.nan_to_num(results['body'])
    cut = int(0.05 * frames / 2)
    output = SampleWindow(64, window=0.95)(results)
    instances = [(('body', 0)), ('body', 1)] + [('hand', (m, s)) for m in (0, 1) for s in (0, 1)]
    for part, at in instances:
        expected = reference(
            results[part][at], results[f'{part}_visible'][at], cut, frames - 2 * cut, 64
        )
        visible = np.isfinite(expected).all(axis=(1, 2))
        np.testing.assert_array_equal(output[f'{part}_visible'][at], visible)
        np.testing.assert_allclose(output[part][at][visible], expected[visible], atol=2e-6, rtol=0)


def test_a_missing_run_does_not_shrink_or_bleed(make_results):
    results = make_results(frames=10, gaps=False)
    visible = np.ones((1, 2, 10), dtype=bool)
    visible[0, 0, 4:6] = False
    hand = results['hand'].copy()
    hand[0, 0, 4:6] = 1e9
    results |= dict(hand=hand, hand_visible=visible)
    output = SampleWindow(40, window=1.0)(results)
    # Output t lies at s = (t + 1/2) / 4 - 1/2; frames 3 and 6 reach half a frame: 3.5 and 5.5.
    s = (np.arange(40) + 0.5) / 4 - 0.5
    np.testing.assert_array_equal(output['hand_visible'][0, 0], (s <= 3.5) | (s >= 5.5))
    assert np.abs(output['hand'][output['hand_visible']]).max() < 10


def test_valid_range_is_that_of_the_bodies(make_results):
    results = make_results(frames=20, persons=2, gaps=False)
    visible = np.zeros((2, 20), dtype=bool)
    visible[0, 5:9] = visible[1, 7:12] = True
    results['body_visible'] = visible
    output = SampleWindow(7, window=1.0)(results)
    np.testing.assert_array_equal(output['frame_index'], np.arange(5, 12) + 10)
    np.testing.assert_array_equal(output['body_visible'], visible[:, 5:12])
    np.testing.assert_array_equal(output['hand'], results['hand'][:, :, 5:12])


def test_valid_range_is_that_of_the_hands_without_a_body(make_results):
    results = make_results(frames=20, gaps=False)
    results['body_visible'] = np.zeros((1, 20), dtype=bool)
    visible = np.zeros((1, 2, 20), dtype=bool)
    visible[0, 1, 3:6] = visible[0, 0, 8] = True
    results['hand_visible'] = visible
    output = SampleWindow(6, window=1.0)(results)
    np.testing.assert_array_equal(output['frame_index'], np.arange(3, 9) + 10)
    np.testing.assert_array_equal(output['hand_visible'], visible[..., 3:9])


@pytest.mark.parametrize('method', ('resize', 'uniform'))
def test_random_windows(method, make_results, seeded):
    results = make_results(frames=100, gaps=False)
    transform = SampleWindow(32, window=(0.5, 0.8), min_frames=60, method=method)
    seeded(0)
    first, last = [], []
    for _ in range(300):
        index = transform(results)['frame_index'] - 10
        assert (np.diff(index) >= 0).all()
        first.append(index[0])
        last.append(index[-1])
    length = np.array(last) - first + 1
    assert min(first) <= 3 and max(last) >= 96
    # The first and last of the 32 samples lie up to one step of 80 / 32 frames inside the window.
    assert 60 - 5 <= length.min() <= 60 and 74 <= length.max() <= 80


def test_short_clips_are_taken_whole_by_default(make_results):
    results = make_results(frames=30, gaps=False)
    np.testing.assert_array_equal(
        SampleWindow(64)(results)['body'], SampleWindow(64, window=1.0)(results)['body']
    )


def test_centred_window_draws_nothing(make_results, seeded):
    results = make_results(frames=100, gaps=False)
    seeded(3)
    expected = np.random.random()
    seeded(3)
    for method in ('resize', 'uniform'):
        output = SampleWindow(90, window=0.9, method=method)(results)
        np.testing.assert_array_equal(output['frame_index'], np.arange(5, 95) + 10)
    assert np.random.random() == expected


@pytest.mark.parametrize('window', (1.0, (0.4, 1.0)))
@pytest.mark.parametrize('frames', (1, 5, 64, 100))
def test_uniform_picks_frames_as_they_are(window, frames, make_results):
    results = make_results(frames=frames, persons=2, masked=0.0, pixels=True)
    transform = SampleWindow(16, window=window, min_frames=4, method='uniform')
    output = transform(results)
    index = output['frame_index'] - 10
    np.testing.assert_array_equal(output['body'], results['body'][:, index])
    np.testing.assert_array_equal(output['body_pixel'], results['body_pixel'][:, index])
    np.testing.assert_array_equal(output['hand'], results['hand'][:, :, index])
    np.testing.assert_array_equal(output['hand_visible'], results['hand_visible'][:, :, index])
    if window == 1.0:
        np.testing.assert_array_equal(index, ((np.arange(16) + 0.5) * frames / 16).astype(int))


def test_a_warp_bends_time_but_keeps_order_and_ends(make_results, seeded):
    results = make_results(frames=40, gaps=False)
    ramp = np.arange(40, dtype=np.float32)[None, :, None, None]
    results['body'] = np.broadcast_to(ramp, results['body'].shape).copy()
    warp, middle = SampleWindow(400, window=(1.0, 1.0), warp=3), []
    for _ in range(300):
        frames = warp(dict(results))['body'][0, :, 0, 0]
        pace = np.diff(frames) * 400 / 40
        assert (pace >= 0).all() and frames[0] < 1 and frames[-1] > 38
        moving = pace[150:250][(frames[150:250] > 0) & (frames[151:251] < 39)]  # the middle third
        assert np.ptp(moving) < 1e-3
        middle.append(moving[0])
    # Three times a piece of a random division in three: mean 1, standard deviation 3 sqrt(1/18).
    assert abs(np.mean(middle) - 1) < 0.15 and abs(np.std(middle) - 3 / 18**0.5) < 0.12


@pytest.mark.parametrize(
    'arguments', (dict(warp=0), dict(warp=2, window=1.0), dict(warp=2, method='uniform'))
)
def test_a_warp_needs_a_random_window_that_is_resized(arguments):
    with pytest.raises(ConfigError, match='warp'):
        SampleWindow(16, **arguments)


def test_drawn_frames_are_in_order_and_any_of_the_window(make_results, seeded):
    results = make_results(frames=20, gaps=False)
    seeded(0)
    transform = SampleWindow(num_frames=52, window=(1.0, 1.0), method='draw')
    counts, patterns = np.zeros(20), set()
    for _ in range(200):
        done = transform(results)
        index = np.searchsorted(results['frame_index'], done['frame_index'])
        assert (np.diff(index) >= 0).all() and index.shape == (52,)
        np.testing.assert_array_equal(done['body'], results['body'][:, index])
        counts += np.bincount(index, minlength=20)
        patterns.add(tuple(index.tolist()))
    np.testing.assert_allclose(counts / counts.sum(), 1 / 20, atol=0.01)
    assert len(patterns) == 200
    still = SampleWindow(num_frames=52, window=1.0, method='draw')
    even = SampleWindow(num_frames=52, window=1.0, method='uniform')
    np.testing.assert_array_equal(still(results)['body'], even(results)['body'])
