import numpy as np
from fake_estimator import COCO, FakeEstimator, body_at, draw, hand_at, moving

from bharnet_mm.datasets.extraction.estimators import LEFT, RIGHT, Arm
from bharnet_mm.datasets.extraction.tracking import BodyHandTracker, HandTracker, PersonTracker

SIZE = 40.0
IMAGE = np.zeros((240, 320, 3), np.uint8)


def arm(x, y, side, person=0, **fields):
    wrist = np.array([x, y], float)
    return Arm(wrist, wrist + [0, SIZE], SIZE, side=side, person=person, **fields)


class Recorder:
    """Gives the answers in order, then nothing; remembers what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def hands(self, image, arms, taken=()):
        self.asked.append(([(a.side, a.search) for a in arms], len(taken)))
        self.arms = arms
        return self.answers.pop(0) if self.answers else []


def test_a_hand_behind_another_is_searched_and_followed_with_that_one_painted_over():
    front = hand_at((100, 50), right=0.0)
    behind = hand_at((80, 50), score=0.6, right=1.0)
    again = [hand_at((99, 50), score=1.0), behind]
    estimator = Recorder([front], again, [front], [behind])
    tracker = HandTracker(estimator)
    for _ in range(2):
        found = tracker.step(IMAGE, [arm(100, 50, LEFT), arm(88, 50, RIGHT)])
        # The painted-over one, found again, does not replace it.
        assert found[0, LEFT].score == front.score and found[0, RIGHT].score == behind.score
    assert estimator.asked == [
        ([(LEFT, 0), (RIGHT, 0)], 0),
        ([(RIGHT, 1)], 1),
        ([(LEFT, 0)], 0),
        ([(RIGHT, 0)], 1),  # followed at once, not searched
    ]


def test_a_lost_hand_is_searched_in_the_whole_picture_where_no_other_is_near():
    estimator = Recorder([hand_at((100, 50))])
    found = HandTracker(estimator).step(IMAGE, [arm(100, 50, LEFT), arm(20, 50, RIGHT)])
    assert list(found) == [(0, LEFT)]
    assert estimator.asked[1] == ([(RIGHT, 1)], 0)
    assert HandTracker(Recorder()).step(IMAGE, []) == {}


def test_a_hand_that_stays_away_is_searched_less_and_less_often():
    estimator = Recorder()
    tracker = HandTracker(estimator, max_wait=4)
    searched = []
    for frame in range(200):
        before = len(estimator.asked)
        tracker.step(IMAGE, [arm(100, 50, LEFT)])
        calls = estimator.asked[before:]
        assert len(calls) <= 2
        searched += [frame] * (calls[-1][0][0][1] > 0)
    waits = np.diff(searched)
    assert waits[0] == 1 and (np.diff(waits) >= 0).all() and waits[-1] == 4
    assert len(searched) < 80
    estimator.answers = [[hand_at((100, 50))]]  # it comes back, is followed, then lost again
    tracker.step(IMAGE, [arm(100, 50, LEFT)])
    estimator.asked.clear()
    tracker.step(IMAGE, [arm(100, 50, LEFT)])
    assert estimator.asked == [([(LEFT, 0)], 0), ([(LEFT, 1)], 0)]


def test_a_second_hand_at_another_arms_wrist_is_left_out():
    def step(**fields):
        front = hand_at((100, 50), right=0.0)
        bad = hand_at((96, 50), score=0.6, right=1.0)
        bad.points[1:, 0] += 30  # another fit of the same hand, too different to be merged
        arms = [arm(100, 50, LEFT, **fields), arm(80, 50, RIGHT)]
        return HandTracker(Recorder([front, bad])).step(IMAGE, arms)

    assert list(step()) == [(0, LEFT)]
    # Where that wrist is in doubt, nothing says that it is wrong.
    assert list(step(reliable=False)) == [(0, LEFT), (0, RIGHT)]


def test_the_last_hand_moves_with_the_wrist():
    hand = hand_at((52, 50))
    estimator = Recorder([hand])
    tracker = HandTracker(estimator, max_gap=2)
    tracker.step(IMAGE, [arm(50, 50, LEFT)])
    tracker.step(IMAGE, [arm(60, 45, LEFT)])
    (given,) = estimator.arms
    np.testing.assert_allclose(given.previous[:, :2], hand.points[:, :2] + [10, -5])
    np.testing.assert_allclose(given.previous[:, 2], hand.points[:, 2])
    assert given.last.points is hand.points and given.lost == 0
    tracker.step(IMAGE, [arm(90, 45, LEFT, reliable=False)])
    (given,) = estimator.arms
    np.testing.assert_allclose(given.previous, hand.points)  # not moved by a wrist in doubt
    assert given.lost == 1
    tracker.step(IMAGE, [arm(90, 45, LEFT)])
    assert estimator.arms[0].previous is None  # too long ago


def test_frame_by_frame_is_what_a_caller_of_live_video_gets():
    tracker = BodyHandTracker(FakeEstimator())
    for image in moving(4, persons=2):
        bodies, hands = tracker.step(image)
        assert sorted(bodies) == [0, 1] and len(hands) == 4
        for (person, side), hand in hands.items():
            wrist = bodies[person].points[COCO.index(f'{("left", "right")[side]}_wrist')]
            np.testing.assert_allclose(hand.points[0, :2], wrist, atol=1)
    assert tracker.step(draw({})) == ({}, {})
    tracker.reset()
    assert sorted(tracker.step(moving(1)[0])[0]) == [0]


def test_persons_keep_their_numbers():
    tracker = PersonTracker(max_gap=2)
    a, b = body_at((100, 50), (60, 50)), body_at((140, 90), (120, 95))
    assert tracker.update([a, b]) == [0, 1]
    assert tracker.update([b, a]) == [1, 0]
    assert tracker.update([b]) == [1]
    assert tracker.update([a, b]) == [0, 1]
    assert tracker.update([body_at((900, 50), (860, 50))]) == [2]
    assert tracker.update([]) == []
    assert tracker.update([]) == []
    assert tracker.update([b]) == [3]  # gone for too long
