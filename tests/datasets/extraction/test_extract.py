from collections import Counter

import numpy as np
import pytest
from fake_estimator import (
    COCO,
    FakeEstimator,
    NoSecondOpinion,
    body_at,
    draw,
    hand_at,
    moving,
)

from bharnet_mm.datasets import Clip, empty_hands
from bharnet_mm.datasets.extraction.extract import extract_clip, fill_hands
from bharnet_mm.errors import SourceError


def body_clip(wrists, image_size=(160, 120), first=0, **fields):
    """A clip of known bodies; wrists is [person][frame] -> (left, right)."""
    pixel = np.array([[body_at(*pair).points for pair in person] for person in wrists], np.float32)
    m, t = pixel.shape[:2]
    hand, hand_score = empty_hands(m, t)
    values = dict(
        clip_id='c',
        label=0,
        body=np.random.default_rng(0).normal(size=(m, t, 17, 3)).astype(np.float32),
        body_score=np.ones((m, t), np.float32),
        hand=hand,
        hand_score=hand_score,
        frame_index=np.arange(first, first + t, dtype=np.int32),
        body_pixel=pixel,
        image_size=image_size,
        video='v.avi',
    )
    return Clip(**{**values, **fields})


def test_a_plain_video_in_fractions_of_the_picture():
    frames = moving(5)
    clip = extract_clip(frames, FakeEstimator(), 'a', label=3, video='a.avi', fps=25.0)
    clip.validate('coco', 'hand')
    assert (clip.label, clip.image_size, clip.fps) == (3, (160, 120), 25.0)
    assert clip.hand.shape == (1, 2, 5, 21, 3) and (clip.hand_score == np.float32(0.9)).all()
    left = COCO.index('left_wrist')
    for t in range(5):
        wrist = np.array([120 - t, 50])
        np.testing.assert_allclose(clip.body_pixel[0, t, left], wrist, atol=0.6)
        np.testing.assert_allclose(clip.hand[0, 0, t, 0, :2], wrist / [160, 120], atol=0.005)
        expected = hand_at(wrist)
        np.testing.assert_allclose(clip.hand[0, 0, t, :, 2], expected.points[:, 2] / 160, atol=1e-6)
    np.testing.assert_allclose(
        clip.body[0, :, left] * [160, 120], clip.body_pixel[0, :, left], atol=1e-3
    )


def test_frames_without_a_body_or_a_hand_are_missing():
    frames = moving(6)
    frames[2] = draw({})
    clip = extract_clip(frames, FakeEstimator(), 'a')
    assert (clip.body_score[0] > 0).tolist() == [True, True, False, True, True, True]
    assert (clip.hand_score[0, 0] > 0).tolist() == [True, True, False, True, True, True]


def test_persons_are_ordered_by_motion_and_counted():
    frames = [
        draw({(0, 'left'): (120, 40), (0, 'right'): (80, 40),
              (1, 'left'): (60 + 3 * t, 100), (1, 'right'): (20 + 3 * t, 100)})
        for t in range(8)
    ]  # fmt: skip
    two = extract_clip(frames, FakeEstimator(), 'a')
    assert two.num_persons == 2 and two.body_pixel[0, 0, COCO.index('left_wrist'), 1] > 90
    one = extract_clip(frames, FakeEstimator(), 'a', max_persons=1)
    np.testing.assert_array_equal(one.hand, two.hand[:1])


def test_nothing_to_see():
    with pytest.raises(SourceError, match='nobody'):
        extract_clip([draw({})] * 3, FakeEstimator(), 'a')
    with pytest.raises(SourceError, match='no frame'):
        extract_clip([], FakeEstimator(), 'a')
    with pytest.raises(SourceError, match='160x120'):
        extract_clip([draw({}), draw({}, 80, 60)], FakeEstimator(), 'a')


def wrists(num, persons=1, start=0):
    return [
        [
            ((120 - t - 60 * p, 50 + 30 * p), (60 + 2 * t - 40 * p, 60))
            for t in range(start, start + num)
        ]
        for p in range(persons)
    ]


def test_hands_of_known_bodies_go_to_the_right_person():
    clip = body_clip(wrists(6, 2))
    (filled,) = fill_hands(moving(6, persons=2), FakeEstimator(), [clip], COCO, Counter())
    assert (filled.hand_score > 0).all()
    for p in range(2):
        for side in range(2):
            expected = np.array([pair[side] for pair in wrists(6, 2)[p]]) / [160, 120]
            np.testing.assert_allclose(filled.hand[p, side, :, 0, :2], expected, atol=0.01)
    np.testing.assert_array_equal(filled.body, clip.body)
    assert filled.frame_index is clip.frame_index


def test_frame_numbers_choose_the_frames():
    whole = moving(10)
    clip = body_clip(wrists(3, start=4), first=4)
    (filled,) = fill_hands(whole, FakeEstimator(), [clip], COCO, Counter())
    expected = [(120 - t) / 160 for t in (4, 5, 6)]
    np.testing.assert_allclose(filled.hand[0, 0, :, 0, 0], expected, atol=0.005)


def test_several_clips_of_one_video_in_one_reading():
    clips = [body_clip(wrists(3, start=s), first=s, clip_id=str(s)) for s in (0, 2, 6)]
    read = []

    def frames():
        for i, frame in enumerate(moving(20)):
            read.append(i)
            yield frame

    filled = fill_hands(frames(), FakeEstimator(), clips, COCO, Counter())
    assert read == list(range(9))  # once, and no further than the last clip
    alone = [fill_hands(moving(20), FakeEstimator(), [c], COCO, Counter())[0] for c in clips]
    for a, b in zip(filled, alone, strict=True):
        np.testing.assert_array_equal(a.hand, b.hand)
        assert (a.hand_score > 0).all()


def test_a_copy_of_another_size():
    clip = body_clip(wrists(4))
    large = [np.kron(f, np.ones((2, 2, 1), np.uint8)) for f in moving(4)]
    (filled,) = fill_hands(large, FakeEstimator(), [clip], COCO, Counter())
    assert (filled.hand_score > 0).all()
    np.testing.assert_allclose(
        filled.hand[0, 0, :, 0, 0], [(120 - t) / 160 for t in range(4)], atol=0.01
    )


def test_a_video_that_ends_before_its_clip_is_counted():
    repaired = Counter()
    (filled,) = fill_hands(moving(4), FakeEstimator(), [body_clip(wrists(6))], COCO, repaired)
    assert (filled.hand_score[0, 0] > 0).tolist() == [True] * 4 + [False] * 2
    assert sum(repaired.values()) == 2
    late = body_clip(wrists(6), first=50)
    with pytest.raises(SourceError, match='50 to 55'):
        fill_hands(moving(4), FakeEstimator(), [late], COCO, Counter())


def test_bodies_that_are_missing_or_unknown_have_no_hands():
    clip = body_clip(wrists(4))
    clip.body_score[0, 1] = 0
    clip.body_pixel[0, 1] = np.nan
    clip.body_pixel[0, 2, COCO.index('left_wrist')] = -1
    (filled,) = fill_hands(moving(4), NoSecondOpinion(), [clip], COCO, Counter())
    assert (filled.hand_score[0] > 0).tolist() == [
        [True, False, False, True],
        [True, False, True, True],
    ]
    with pytest.raises(SourceError, match='pixel'):
        fill_hands(
            moving(4), FakeEstimator(), [body_clip(wrists(4), body_pixel=None)], COCO, Counter()
        )


def test_wrists_far_outside_are_not_looked_for():
    estimator = NoSecondOpinion()
    clip = body_clip([[((400, 50), (60, 60))]])
    fill_hands([moving(1)[0]], estimator, [clip], COCO, Counter())
    assert {call for call in estimator.calls if call != 'start'} == {(1, 0)}  # of two wrists
