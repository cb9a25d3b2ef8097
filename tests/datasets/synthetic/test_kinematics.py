import numpy as np
import pytest

from bharnet_mm.datasets.synthetic.kinematics import (
    ELBOW_LIMITS,
    HAND_LIMITS,
    BodySize,
    bend_arm,
    body_pose,
    hand_pose,
    rotate,
    rotation,
)
from bharnet_mm.layouts import get_layout

BODY, HAND = get_layout('kinect_v2'), get_layout('hand')
SIZE = BodySize(height=1.75, arm=0.55, shoulders=0.36, hand=0.19)
FINGERS = ('thumb', 'index', 'middle', 'ring', 'pinky')


def stand(count=1, left=(0.1, -0.9, -0.2), right=(0.1, -0.9, -0.2), yaw=0.0, lean=0.0, size=SIZE):
    wrists = {
        'left': np.broadcast_to(np.array(left, float), (count, 3)),
        'right': np.broadcast_to(np.array(right, float), (count, 3)),
    }
    turned = np.full(count, yaw), np.full(count, lean)
    return body_pose(size, np.zeros((count, 3)), *turned, wrists)


def joint(points, layout, name):
    return points[..., layout.index(name), :]


def hand(**degrees):
    """A flat hand with some fingers' angles changed."""
    angles = np.zeros((1, 5, 4))
    for finger, values in degrees.items():
        angles[0, FINGERS.index(finger)] = values
    return hand_pose(angles, 0.19)[0]


@pytest.mark.parametrize(
    ('axis', 'start', 'end'), [('x', 'y', 'z'), ('y', 'z', 'x'), ('z', 'x', 'y')]
)
def test_rotation_is_right_handed(axis, start, end):
    unit = dict(zip('xyz', np.eye(3), strict=True))
    np.testing.assert_allclose(rotation(axis, 90) @ unit[start], unit[end], atol=1e-12)


def test_rotate_takes_points_and_clouds():
    rng = np.random.default_rng(0)
    turns, cloud = rotation('z', rng.uniform(0, 90, 4)), rng.normal(size=(4, 5, 3))
    expected = np.stack([cloud[t] @ turns[t].T for t in range(4)])
    np.testing.assert_allclose(rotate(turns, cloud), expected)
    np.testing.assert_allclose(rotate(turns, cloud[:, 2]), expected[:, 2])


def test_arm_keeps_its_bones_and_the_elbows_limits():
    rng = np.random.default_rng(1)
    shoulder, target = rng.normal(size=(500, 3)), rng.normal(size=(500, 3))
    pole = np.array([0.5, -0.8, 0.35])
    elbow, wrist = bend_arm(shoulder, target, pole, 0.3, 0.26)
    np.testing.assert_allclose(np.linalg.norm(elbow - shoulder, axis=1), 0.3)
    np.testing.assert_allclose(np.linalg.norm(wrist - elbow, axis=1), 0.26)
    upper, lower = (shoulder - elbow) / 0.3, (wrist - elbow) / 0.26
    angle = np.rad2deg(np.arccos((upper * lower).sum(1)))
    assert angle.min() > ELBOW_LIMITS[0] - 1e-6 and angle.max() < ELBOW_LIMITS[1] + 1e-6
    # On the pole's side of the line from shoulder to wrist, and the wrist on the target's line.
    middle = shoulder + ((elbow - shoulder) * (wrist - shoulder)).sum(1, keepdims=True) * (
        wrist - shoulder
    ) / np.square(wrist - shoulder).sum(1, keepdims=True)
    assert ((elbow - middle) @ pole >= -1e-9).all()
    np.testing.assert_allclose(np.cross(wrist - shoulder, target - shoulder), 0, atol=1e-9)


def test_a_target_within_reach_is_reached():
    target = np.array([[0.1, 0.2, -0.35]])
    np.testing.assert_allclose(
        bend_arm(np.zeros((1, 3)), target, np.array([0, -1.0, 0]), 0.3, 0.26)[1], target
    )


def test_body_stands_upright_and_faces_the_camera():
    body = stand()[0]
    height = {name: joint(body, BODY, name)[1] for name in BODY.joints}
    assert height['head'] > height['neck'] > height['spine_shoulder'] > height['spine_mid']
    assert (
        height['spine_mid'] > height['left_knee'] > height['left_ankle'] > height['left_foot'] > 0
    )
    assert 1.5 < height['head'] < 1.75
    for side, sign in (('left', -1), ('right', 1)):
        for name in ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'foot'):
            assert sign * joint(body, BODY, f'{side}_{name}')[0] > 0
        # Towards the camera, which is at -z.
        assert joint(body, BODY, f'{side}_foot')[2] < joint(body, BODY, f'{side}_ankle')[2]
        assert joint(body, BODY, f'{side}_thumb')[2] < joint(body, BODY, f'{side}_hand')[2]


def test_a_raised_forearm_has_its_elbow_below_and_the_forearm_bends_forward():
    body = stand(right=(0.1, 0.1, -0.45))[0]
    shoulder, elbow, wrist = (
        joint(body, BODY, f'right_{name}') for name in ('shoulder', 'elbow', 'wrist')
    )
    assert elbow[1] < min(shoulder[1], wrist[1]) and wrist[2] < elbow[2]


def test_body_is_mirror_symmetric():
    left = stand(left=(0.2, 0.5, -0.4), right=(0.1, -0.9, -0.1))
    right = stand(right=(0.2, 0.5, -0.4), left=(0.1, -0.9, -0.1))
    np.testing.assert_allclose(left[:, BODY.swap_index] * (-1, 1, 1), right, atol=1e-12)


def test_turning_and_leaning():
    turned, leaning = stand(yaw=90)[0], stand(lean=20)[0]
    # Facing -x, so the right shoulder is further from the camera... at -z as seen from above.
    shoulders = joint(turned, BODY, 'right_shoulder') - joint(turned, BODY, 'left_shoulder')
    np.testing.assert_allclose(shoulders / np.linalg.norm(shoulders), (0, 0, -1), atol=1e-9)
    assert joint(turned, BODY, 'left_foot')[0] < joint(turned, BODY, 'left_ankle')[0]
    assert joint(leaning, BODY, 'head')[2] < joint(stand()[0], BODY, 'head')[2] - 0.1


def test_body_bones_are_rigid_in_motion():
    rng = np.random.default_rng(2)
    wrists = {side: rng.normal(0, 0.5, (40, 3)) for side in ('left', 'right')}
    body = body_pose(SIZE, np.zeros((40, 3)), rng.normal(0, 40, 40), rng.normal(0, 9, 40), wrists)
    for name in BODY.joints:
        # Hips are on the legs' turn, the spine on the upper body's lean.
        if name in BODY.parents and not name.endswith('hip'):
            bone = joint(body, BODY, name) - joint(body, BODY, BODY.parents[name])
            length = np.linalg.norm(bone, axis=1)
            np.testing.assert_allclose(length, length[0], rtol=1e-9, err_msg=name)


def test_swaying_hips_leave_the_feet_where_they_are():
    sway = np.zeros((2, 3))
    sway[:, 0] = (-0.1, 0.1)
    rest = {side: np.tile((0.1, -0.9, -0.1), (2, 1)) for side in ('left', 'right')}
    place = np.array([2.0, 0, 1.0])
    body = body_pose(SIZE, sway + place, np.zeros(2), np.zeros(2), rest)
    moved = np.abs(body[1] - body[0])[:, 0]
    assert moved[BODY.index('left_hip')] > 0.18 and moved[BODY.index('left_foot')] < 0.02
    assert abs(joint(body, BODY, 'left_foot')[0, 0] - 2) < 0.2


@pytest.mark.parametrize('finger', FINGERS[1:])
def test_fingers_flex_towards_the_palm(finger):
    flat, bent = hand(), hand(**{finger: (0, 80, 90, 50)})
    tip = f'{finger}_tip'
    assert joint(flat, HAND, tip)[1] > joint(flat, HAND, f'{finger}_mcp')[1] + 0.05
    assert abs(joint(flat, HAND, tip)[2]) < 0.01
    assert joint(bent, HAND, f'{finger}_pip')[2] > 0.025  # out of the palm's plane, palm side
    assert joint(bent, HAND, tip)[1] < joint(bent, HAND, f'{finger}_pip')[1]
    others = [i for i, name in enumerate(HAND.joints) if not name.startswith(finger)]
    np.testing.assert_array_equal(flat[others], bent[others])


def test_thumb_is_on_its_side_and_bends_across_the_palm():
    out, over = hand(thumb=(60, 10, 0, 0)), hand(thumb=(20, 45, 45, 60))
    assert joint(out, HAND, 'thumb_tip')[0] > joint(out, HAND, 'index_mcp')[0] + 0.03
    assert joint(over, HAND, 'thumb_tip')[0] < joint(out, HAND, 'thumb_tip')[0] - 0.05
    assert joint(over, HAND, 'thumb_tip')[2] > 0.02  # in front of the palm


def test_hand_is_rigid_and_scales():
    rng = np.random.default_rng(3)
    angles = rng.uniform(-60, 150, (50, 5, 4))
    small, large = hand_pose(angles, 0.15), hand_pose(angles, 0.2)
    np.testing.assert_allclose(small / 0.15, large / 0.2, atol=1e-12)
    for name in HAND.joints[1:]:
        length = np.linalg.norm(
            joint(large, HAND, name) - joint(large, HAND, HAND.parents[name]), axis=1
        )
        np.testing.assert_allclose(length, length[0], rtol=1e-9, err_msg=name)
    limited = np.clip(angles, HAND_LIMITS[..., 0], HAND_LIMITS[..., 1])
    np.testing.assert_array_equal(hand_pose(limited, 0.2), large)


def test_a_flat_hand_is_as_long_as_asked():
    assert np.linalg.norm(joint(hand(), HAND, 'middle_tip')) == pytest.approx(0.19, abs=0.003)
