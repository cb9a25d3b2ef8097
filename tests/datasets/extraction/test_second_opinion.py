"""Skeletons whose wrists are not where the picture shows them, as a depth sensor's are."""

from collections import Counter

import numpy as np
import pytest
from fake_estimator import COCO, FakeEstimator, NoSecondOpinion, moving
from test_extract import body_clip, wrists

from bharnet_mm.datasets.extraction.extract import ELSEWHERE, fill_hands

LEFT_WRIST, RIGHT_WRIST = COCO.index('left_wrist'), COCO.index('right_wrist')


def displaced(clip):
    clip.body_pixel[0, :, LEFT_WRIST] += (-25, 45)


def frozen(clip):
    clip.body_pixel[0, :, RIGHT_WRIST] = (20, 110)


def unknown(clip):
    clip.body_pixel[0, :, LEFT_WRIST] = -1


@pytest.mark.parametrize(('spoil', 'side'), [(displaced, 0), (frozen, 1), (unknown, 0)])
def test_a_hand_is_found_at_the_wrist_that_the_picture_shows(spoil, side):
    clip, repaired = body_clip(wrists(6)), Counter()
    spoil(clip)
    (filled,) = fill_hands(moving(6), FakeEstimator(), [clip], COCO, repaired)
    assert (filled.hand_score > 0).all()
    for s in (0, 1):
        expected = np.array([pair[s] for pair in wrists(6)[0]]) / [160, 120]
        np.testing.assert_allclose(filled.hand[0, s, :, 0, :2], expected, atol=0.01)
    assert repaired == ({} if spoil is unknown else {ELSEWHERE: 6})
    (alone,) = fill_hands(moving(6), NoSecondOpinion(), [clip], COCO, Counter())
    assert (alone.hand_score[0] > 0).sum(axis=1).tolist() == [6 * (s != side) for s in (0, 1)]


def test_another_persons_pose_is_no_opinion():
    clip = body_clip(
        [[((30, 110), (20, 110))] * 6]
    )  # somebody whom the picture does not show there
    clip.body_pixel[0, :, COCO.index('nose')] = (150, 20)  # so that the box holds the other one
    (filled,) = fill_hands(moving(6), FakeEstimator(), [clip], COCO, Counter())
    assert not filled.hand_score.any()


def test_sides_follow_the_known_skeleton():
    """The picture's pose has left and right exchanged; elbows and shoulders tell."""

    class Exchanged(FakeEstimator):
        def bodies_in(self, image, box):
            bodies = super().bodies_in(image, box)
            for body in bodies:
                body.points = body.points[COCO.swap_index]
            return bodies

    clip = body_clip(wrists(6))
    displaced(clip)
    (filled,) = fill_hands(moving(6), Exchanged(), [clip], COCO, Counter())
    expected = np.array([pair[0] for pair in wrists(6)[0]]) / [160, 120]
    assert (filled.hand_score > 0).all()
    np.testing.assert_allclose(filled.hand[0, 0, :, 0, :2], expected, atol=0.01)
