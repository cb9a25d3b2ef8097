import itertools

import numpy as np
import pytest
from fake_estimator import COCO, body_at, hand_at

from bharnet_mm.datasets.extraction.association import (
    MAX_DISTANCE,
    assign_hands,
    find_arms,
    nearest_arm,
)
from bharnet_mm.datasets.extraction.estimators import LEFT, RIGHT, Arm, HandPose
from bharnet_mm.layouts import get_layout

SIZE = 40.0


def arm(x, y, side, person=0, **fields):
    wrist = np.array([x, y], float)
    return Arm(wrist, wrist + [0, SIZE], SIZE, side=side, person=person, **fields)


def test_each_hand_goes_to_its_own_wrist_in_any_order():
    arms = [arm(100, 50, LEFT), arm(50, 50, RIGHT)]
    hands = [hand_at((52, 51), right=1.0), hand_at((99, 48), right=0.0), hand_at((140, 140))]
    for some in itertools.permutations(hands):
        left, right = assign_hands(some, arms)
        assert (left.points == hands[1].points).all() and (right.points == hands[0].points).all()


def test_the_wrist_decides_not_the_look_of_the_hand():
    left, right = assign_hands([hand_at((100, 50), right=1.0)], [arm(100, 50, 0), arm(50, 50, 1)])
    assert left is not None and right is None


def test_one_hand_seen_by_both_crops_is_given_once():
    arms = [arm(100, 50, LEFT), arm(92, 50, RIGHT)]
    hands = [
        hand_at((97, 50), score=0.8, right=0.1),
        hand_at((96, 51), score=0.9, right=0.2),
    ]
    left, right = assign_hands(hands, arms)
    assert right is None and left.score == 0.9 and left.right == pytest.approx(0.15)


def test_the_side_decides_between_wrists_that_touch():
    arms = [arm(100, 50, LEFT), arm(101, 50, RIGHT)]
    for look in (0.0, 1.0):
        given = assign_hands([hand_at((100.5, 50), right=look)], arms)
        assert (given[RIGHT] is not None) == bool(look)
        assert nearest_arm(hand_at((100.5, 50), right=look), arms) is arms[int(look)]


def test_two_hands_together_are_both_given():
    arms = [arm(100, 50, LEFT), arm(90, 50, RIGHT)]
    # Both nearer to the right wrist: the nearest pair alone would leave one arm empty.
    hands = [hand_at((90, 50), right=1.0), hand_at((92, 30), right=0.0)]
    left, right = assign_hands(hands, arms)
    assert left.points[0, 1] == 30 and right.points[0, 1] == 50


def test_a_far_hand_is_nobodys():
    far = MAX_DISTANCE * SIZE + 1
    assert assign_hands([hand_at((50 + far, 50))], [arm(50, 50, RIGHT)]) == [None]
    assert nearest_arm(hand_at((50 + far, 50)), [arm(50, 50, RIGHT)]) is None
    assert assign_hands([], [arm(50, 50, RIGHT)]) == [None]
    assert assign_hands([hand_at((0, 0))], []) == []


def test_hands_of_two_persons():
    arms = [arm(100, 50, 0, 0), arm(60, 50, 1, 0), arm(75, 52, 0, 1), arm(20, 50, 1, 1)]
    hands = [hand_at(a.wrist + [1, 1], right=0.5) for a in arms]
    for order in itertools.permutations(range(4)):
        given = assign_hands([hands[i] for i in order], arms)
        for hand, expected in zip(given, hands, strict=True):
            assert (hand.points == expected.points).all()


def test_a_mirrored_picture_gives_the_mirrored_assignment():
    random = np.random.default_rng(0)
    for _ in range(50):
        arms = [
            arm(*random.uniform(40, 90, 2), side, person) for person in (0, 1) for side in (0, 1)
        ]
        hands = [
            hand_at(random.uniform(40, 90, 2), score=s, right=random.uniform())
            for s in (0.9, 0.8, 0.7, 0.6)
        ]
        given = assign_hands(hands, arms)
        mirrored_arms = [arm(200 - a.wrist[0], a.wrist[1], 1 - a.side, a.person) for a in arms]
        flip = np.array([-1, 1, 1])
        mirrored = [HandPose(h.points * flip + [200, 0, 0], h.score, 1 - h.right) for h in hands]
        for a, b in zip(given, assign_hands(mirrored, mirrored_arms), strict=True):
            assert (a is None) == (b is None)
            assert a is None or a.score == b.score


def test_an_unreliable_wrist_gives_way_to_the_last_hand():
    last = hand_at((80, 50)).points
    hand = hand_at((81, 50))
    assert assign_hands([hand], [arm(20, 50, LEFT, previous=last)]) == [None]
    given = assign_hands([hand], [arm(20, 50, LEFT, previous=last, reliable=False)])
    assert given[0] is not None


def test_arms_of_a_body():
    body = body_at((100, 50), (60, 50), SIZE)
    left, right = find_arms(body.points, body.joint_score, COCO)
    assert (left.side, right.side) == (LEFT, RIGHT)
    np.testing.assert_array_equal(left.wrist, [100, 50])
    assert left.size >= SIZE and left.reliable


def test_the_knuckles_of_a_pose_that_has_them():
    body = body_at((100, 50), (60, 50), SIZE)
    assert np.isnan(find_arms(body.points, body.joint_score, COCO)[0].knuckles).all()
    layout = get_layout('mediapipe_pose')
    points = np.random.default_rng(0).uniform(0, 100, (layout.num_joints, 2))
    score = np.ones(layout.num_joints)
    score[layout.index('left_pinky')] = 0
    left, right = find_arms(points, score, layout)
    assert np.isnan(left.knuckles).all()
    index, pinky = (points[layout.index(f'right_{name}')] for name in ('index', 'pinky'))
    np.testing.assert_allclose(right.knuckles, (index + pinky) / 2)


def test_a_forearm_towards_the_camera_does_not_shrink_the_arm():
    body = body_at((100, 50), (60, 50), SIZE)
    body.points[COCO.index('left_shoulder')] = [130, 20]
    body.points[COCO.index('right_shoulder')] = [60, 20]
    before = find_arms(body.points, body.joint_score, COCO)[0].size
    for side in ('left', 'right'):
        wrist = body.points[COCO.index(f'{side}_wrist')]
        body.points[COCO.index(f'{side}_elbow')] = wrist + [0, 2]
    after = find_arms(body.points, body.joint_score, COCO)[0].size
    assert after > 0.5 * before


@pytest.mark.parametrize('how', ['score', 'nan'])
def test_unknown_joints_are_not_used(how):
    body = body_at((100, 50), (60, 50), SIZE)
    i = COCO.index('left_wrist')
    if how == 'score':
        body.joint_score[i] = 0
    else:
        body.points[i] = np.nan
    (only,) = find_arms(body.points, body.joint_score, COCO)
    assert only.side == RIGHT and np.isfinite(only.size)
    body.joint_score[:] = 0
    assert find_arms(body.points, body.joint_score, COCO) == []


def test_a_doubtful_wrist_is_not_relied_on():
    body = body_at((100, 50), (60, 50), SIZE)
    body.joint_score[COCO.index('left_wrist')] = 0.3
    assert [a.reliable for a in find_arms(body.points, body.joint_score, COCO)] == [False, True]
