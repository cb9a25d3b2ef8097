import numpy as np
import pytest

from bharnet_mm.datasets.transforms import (
    NormalizeSkeleton,
    RandomMirror,
    RandomRotate,
    RandomScale,
)
from bharnet_mm.errors import ClipError

ALWAYS = dict(prob=1.0)


def test_values(make_results):
    results = make_results(persons=2, masked=0.0, pixels=True)
    output = RandomMirror(**ALWAYS, axis=dict(body=0.5, hand=-1.0))(results)
    layout = results['body_layout']
    for left, right in (*layout.swaps, ('head', 'head')):
        for here, there in ((left, right), (right, left)):
            i, j = layout.index(here), layout.index(there)
            old, new = results['body'][:, :, j], output['body'][:, :, i]
            np.testing.assert_array_equal(new[..., 0], 1 - old[..., 0])
            np.testing.assert_array_equal(new[..., 1:], old[..., 1:])
            old, new = results['body_pixel'][:, :, j], output['body_pixel'][:, :, i]
            np.testing.assert_array_equal(new[..., 0], 1919 - old[..., 0])
            np.testing.assert_array_equal(new[..., 1], old[..., 1])
    for side in (0, 1):
        old, new = results['hand'][:, 1 - side], output['hand'][:, side]
        np.testing.assert_array_equal(new[..., 0], -2 - old[..., 0])
        np.testing.assert_array_equal(new[..., 1:], old[..., 1:])
        np.testing.assert_array_equal(
            output['hand_visible'][:, side], results['hand_visible'][:, 1 - side]
        )
    assert output['body_visible'] is results['body_visible']
    assert output['mirrored'] is True


@pytest.mark.parametrize('axis', (0.0, 0.5))
@pytest.mark.parametrize('layout', ('kinect_v2', 'mediapipe_pose', 'coco'))
@pytest.mark.parametrize('space', ('native', 'canonical'))
def test_twice_is_the_identity(axis, layout, space, make_results, same_visible):
    results = make_results(persons=2, body_layout=layout, pixels=True)
    results = NormalizeSkeleton('hand', space=space, axis=axis)(results)
    mirror = RandomMirror(**ALWAYS, axis=axis)
    output = mirror(mirror(results))
    same_visible(output, results, atol=0 if axis == 0 else 1e-6)
    visible = results['body_visible']
    np.testing.assert_allclose(
        output['body_pixel'][visible], results['body_pixel'][visible], atol=1e-3
    )
    assert output['mirrored'] is False


@pytest.mark.parametrize('axis', (0.0, 0.5))
@pytest.mark.parametrize('center', ('none', 'first', 'frame'))
@pytest.mark.parametrize('scale', ('none', 'clip', 'frame'))
def test_before_or_after_canonical_hands_is_the_same(
    axis, center, scale, make_results, same_visible
):
    results = make_results(persons=2)
    normalise = NormalizeSkeleton('hand', space='canonical', center=center, scale=scale, axis=axis)
    mirror = RandomMirror(**ALWAYS, axis=axis)
    same_visible(normalise(mirror(results)), mirror(normalise(results)), atol=2e-5)


def test_before_or_after_a_canonical_body_is_the_same(make_results, same_visible):
    results = make_results(persons=2)
    normalise = NormalizeSkeleton('body', space='canonical', center='first', scale='clip')
    mirror = RandomMirror(**ALWAYS)
    same_visible(normalise(mirror(results)), mirror(normalise(results)), atol=5e-5)


def test_canonical_hands_are_exchanged_only(make_results):
    results = NormalizeSkeleton('hand', space='canonical')(make_results(persons=2))
    output = RandomMirror(**ALWAYS, axis=0.5)(results)
    np.testing.assert_array_equal(output['hand'], results['hand'][:, ::-1])
    np.testing.assert_array_equal(output['hand_visible'], results['hand_visible'][:, ::-1])


@pytest.mark.parametrize('transform', (RandomRotate(0.8), RandomScale(0.3, shear=0.2)), ids=repr)
def test_turning_and_scaling_mean_the_same_before_and_after_canonical_hands(
    transform, make_results, seeded, same_visible
):
    results = make_results(persons=2)
    normalise = NormalizeSkeleton('hand', space='canonical', center='frame')
    seeded(1)
    first = normalise(transform(results))
    seeded(1)
    same_visible(transform(normalise(results)), first, atol=5e-6)


def test_probability(make_results, seeded):
    results = make_results(frames=2)
    seeded(0)
    transform = RandomMirror(prob=0.3)
    share = np.mean([transform(results)['mirrored'] for _ in range(1000)])
    assert 0.25 < share < 0.35


def test_pixels_without_an_image_size(make_results):
    results = {**make_results(pixels=True), 'image_size': (0, 0)}
    with pytest.raises(ClipError, match=r'found pixels but image_size \(0, 0\)'):
        RandomMirror(**ALWAYS)(results)
