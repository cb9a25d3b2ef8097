import numpy as np
import pytest

from bharnet_mm.datasets.transforms import NormalizeSkeleton
from bharnet_mm.errors import ClipError
from bharnet_mm.layouts import get_layout


def loop(results, part, center, scale):
    """The docstring for native space, instance by instance and frame by frame."""
    layout = results[f'{part}_layout']
    x, visible = results[part].astype(np.float64), results[f'{part}_visible']
    x, visible = x.reshape(-1, *x.shape[-3:]), visible.reshape(-1, visible.shape[-1])
    c = [layout.index(joint) for joint in layout.center]
    a, b = (layout.index(joint) for joint in layout.scale)
    out = np.full(x.shape, np.nan)
    for i in range(len(x)):
        shared = part == 'body'
        source = next(k for k in range(len(x)) if visible[k].any()) if shared else i
        seen = [t for t in range(x.shape[1]) if visible[source, t]]
        lengths = {t: np.linalg.norm(x[source, t, a] - x[source, t, b]) for t in seen}
        for t in range(x.shape[1]):
            if not visible[i, t]:
                continue
            origin, size = 0, 1
            if center == 'first':
                origin = x[source, seen[0], c].mean(0)
            elif center == 'frame':
                origin = x[i, t, c].mean(0)
            if scale == 'first':
                size = lengths[seen[0]]
            elif scale == 'clip':
                size = np.mean(list(lengths.values()))
            elif scale == 'frame':
                size = np.linalg.norm(x[i, t, a] - x[i, t, b])
            out[i, t] = (x[i, t] - origin) / size
    return out


@pytest.mark.parametrize('scale', ('none', 'first', 'clip', 'frame'))
@pytest.mark.parametrize('center', ('none', 'first', 'frame'))
@pytest.mark.parametrize('part', ('body', 'hand'))
@pytest.mark.parametrize('layout', ('kinect_v2', 'mediapipe_pose'))
def test_against_a_plain_loop(part, center, scale, layout, make_results):
    results = make_results(frames=30, persons=2, body_layout=layout)
    output = NormalizeSkeleton(part, center=center, scale=scale)(results)
    expected = loop(results, part, center, scale)
    visible = results[f'{part}_visible'].reshape(expected.shape[:2])
    value = output[part].reshape(expected.shape)[visible]
    np.testing.assert_allclose(value, expected[visible], atol=2e-4, rtol=1e-4)
    other = 'hand' if part == 'body' else 'body'
    assert output[other] is results[other] and output[f'{part}_visible'].dtype == bool


def test_size_and_place_do_not_matter_after_it(make_results, same_visible):
    results = make_results(persons=2)
    moved = {
        **results,
        'body': results['body'] * np.float32(3.5) + np.float32(0.7),
        'hand': results['hand'] * np.float32(0.2) - np.float32(0.3),
    }
    for scale in ('first', 'clip', 'frame'):
        for part in ('body', 'hand'):
            transform = NormalizeSkeleton(part, center='first', scale=scale)
            results, moved = transform(results), transform(moved)
        same_visible(results, moved, atol=2e-3)


def test_hand_in_each_frame_has_its_wrist_at_the_origin_and_a_palm_of_one(make_results):
    output = NormalizeSkeleton('hand', center='frame', scale='frame')(make_results())
    hand = output['hand'][output['hand_visible']]
    np.testing.assert_array_equal(hand[:, 0], 0)
    knuckle = get_layout('hand').index('middle_mcp')
    np.testing.assert_allclose(np.linalg.norm(hand[:, knuckle], axis=1), 1, atol=1e-5)


def test_persons_keep_their_distance(make_results):
    results = make_results(persons=2, gaps=False)
    output = NormalizeSkeleton('body', center='first', scale='first')(results)
    layout = results['body_layout']
    a, b = layout.scale_index
    size = np.linalg.norm(results['body'][0, 0, a] - results['body'][0, 0, b])
    before = results['body'][1] - results['body'][0]
    np.testing.assert_allclose(output['body'][1] - output['body'][0], before / size, atol=1e-4)
    np.testing.assert_array_equal(output['body'][0, 0, layout.center_index], 0)


def test_first_visible_person_stands_in_for_an_invisible_one(make_results):
    results = make_results(persons=2)
    visible = results['body_visible'].copy()
    visible[0] = False
    results['body_visible'] = visible
    output = NormalizeSkeleton('body', center='first')(results)
    first = visible[1].argmax()
    assert (output['body'][1, first, results['body_layout'].center_index] == 0).all()


@pytest.mark.parametrize('layout', ('kinect_v2', 'kinect_v1', 'mediapipe_pose', 'coco'))
def test_canonical_body_stands_on_z_with_its_shoulders_along_x(layout, make_results, same_visible):
    results = make_results(body_layout=layout)
    transform = NormalizeSkeleton('body', space='canonical', center='first')
    output = transform(results)
    index = results['body_layout'].index
    frame = output['body'][0, 0]
    side = frame[index('right_shoulder')] - frame[index('left_shoulder')]
    if 'kinect' in layout:
        low, high = (
            ('spine_base', 'spine_mid') if layout == 'kinect_v2' else ('hip_center', 'spine')
        )
        up = frame[index(high)] - frame[index(low)]
    else:
        up = frame[index('right_shoulder')] + frame[index('left_shoulder')]
        up = up - frame[index('right_hip')] - frame[index('left_hip')]
    np.testing.assert_allclose(up[:2], 0, atol=1e-5)
    np.testing.assert_allclose(side[1], 0, atol=1e-5)
    assert up[2] > 0 and side[0] > 0
    # A rotation: distances stay, and so does the handedness.
    native = NormalizeSkeleton('body', center='first')(results)['body'][0, 0]
    np.testing.assert_allclose(frame @ frame.T, native @ native.T, atol=1e-4)
    volume = np.linalg.det(frame[[2, 5, 9]]) / np.linalg.det(native[[2, 5, 9]])
    np.testing.assert_allclose(volume, 1, atol=1e-2)
    # Any view of the person gives the same.
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0].astype(np.float32)
    turn *= np.sign(np.linalg.det(turn))
    turned = {**results, 'body': results['body'] @ turn.T}
    same_visible(transform(turned), output, atol=1e-4)


def test_canonical_body_takes_the_first_frame_that_has_axes(make_results):
    results = make_results(gaps=False)
    body = results['body'].copy()
    body[0, :3] = body[0, :3, :1]  # all joints in one point
    results['body'] = body
    transform = NormalizeSkeleton('body', space='canonical')
    frame = transform(results)['body'][0, 3]
    index = results['body_layout'].index
    up = frame[index('spine_mid')] - frame[index('spine_base')]
    np.testing.assert_allclose(up[:2], 0, atol=1e-5)
    assert transform.num_untreated == 0


def test_canonical_hands(make_results):
    results = make_results(persons=2)
    visible = results['hand_visible'][:, 0]
    output = NormalizeSkeleton('hand', space='canonical', axis=0.5)(results)
    left, native = output['hand'][:, 0][visible], results['hand'][:, 0][visible]
    np.testing.assert_array_equal(left[..., 0], 1 - native[..., 0])
    np.testing.assert_array_equal(left[..., 1:], native[..., 1:])
    np.testing.assert_array_equal(output['hand'][:, 1], results['hand'][:, 1])
    assert output['hand_space'] == 'canonical' and 'hand_space' not in results
    again = NormalizeSkeleton('hand', space='canonical', axis=0.5)(output)
    np.testing.assert_array_equal(again['hand'], output['hand'])
    # Once centred, the plane is that of the wrist, wherever ``axis`` was.
    centred = NormalizeSkeleton('hand', center='frame')(results)['hand'][:, 0][visible]
    mirrored = NormalizeSkeleton('hand', space='canonical', center='frame', axis=0.5)(results)
    np.testing.assert_array_equal(mirrored['hand'][:, 0][visible][..., 0], -centred[..., 0])


def test_frames_without_a_length_take_the_nearest_one(make_results):
    results = make_results(frames=12, gaps=False)
    hand = results['hand'].copy()
    hand[0, 0, [0, 1, 5, 6, 7]] = 0.25  # a hand in one point
    results['hand'] = hand
    plain = make_results(frames=12, gaps=False)['hand'][0, 0].astype(np.float64)
    a, b = results['hand_layout'].scale_index
    lengths = np.linalg.norm(plain[:, a] - plain[:, b], axis=1)
    nearest = [2, 2, 2, 3, 4, 4, 4, 8, 8, 9, 10, 11]
    transform = NormalizeSkeleton('hand', scale='frame')
    output = transform(results)['hand'][0, 0]
    np.testing.assert_allclose(
        output, hand[0, 0] / lengths[nearest][:, None, None], rtol=1e-5, atol=1e-5
    )
    for scale, size in (('first', lengths[2]), ('clip', lengths[sorted({*nearest})].mean())):
        output = NormalizeSkeleton('hand', scale=scale)(results)['hand'][0, 0]
        np.testing.assert_allclose(output, hand[0, 0] / size, rtol=1e-5, atol=1e-5)
    assert transform.num_untreated == 0


@pytest.mark.parametrize('scale', ('first', 'clip', 'frame'))
@pytest.mark.parametrize('part', ('body', 'hand'))
def test_without_any_length_it_stays_and_is_counted_and_logged_once(
    part, scale, make_results, monkeypatch
):
    results = make_results(persons=2, gaps=False)
    x = results[part].copy()
    (x if part == 'body' else x[:, 1])[:] = 0.5
    results[part] = x
    lines = []
    monkeypatch.setattr('bharnet_mm.datasets.transforms.base.warn', lines.append)
    transform = NormalizeSkeleton(part, scale=scale)
    for _ in range(3):
        output = transform(results)
    np.testing.assert_array_equal(output[part] if part == 'body' else output[part][:, 1], 0.5)
    assert transform.num_untreated == 3
    (text,) = lines
    assert 'S001C001P001R001A001' in text


def test_a_person_without_a_length_takes_the_others(make_results):
    results = make_results(persons=2, gaps=False)
    body = results['body'].copy()
    body[0] = 0.5
    results['body'] = body
    transform = NormalizeSkeleton('body', scale='clip')
    a, b = results['body_layout'].scale_index
    size = np.linalg.norm(body[1, :, a] - body[1, :, b], axis=-1).mean()
    np.testing.assert_allclose(transform(results)['body'], body / size, rtol=1e-4)
    assert transform.num_untreated == 0


def test_a_canonical_body_needs_space_and_names(make_results):
    transform = NormalizeSkeleton('body', space='canonical')
    with pytest.raises(ClipError, match='found 2 channels'):
        transform(make_results(channels=2))
    with pytest.raises(ClipError, match="'mediapipe_upper_body' without shoulders, or without"):
        transform(make_results(body_layout='mediapipe_upper_body'))


def test_a_body_without_axes_is_counted(make_results):
    results = make_results(gaps=False)
    results['body'] = np.zeros_like(results['body'])
    transform = NormalizeSkeleton('body', space='canonical')
    np.testing.assert_array_equal(transform(results)['body'], 0)
    assert transform.num_untreated == 1
