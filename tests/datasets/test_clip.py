import numpy as np
import pytest

from bharnet_mm.datasets import empty_hands
from bharnet_mm.errors import ClipError


def check(clip):
    clip.validate('kinect_v2', 'hand', 4)


def test_good_clips(make_clip):
    check(make_clip(frames=1, persons=3))
    check(make_clip(body_pixel=np.zeros((1, 5, 25, 2), np.float32)))
    check(make_clip(body=np.zeros((1, 5, 25, 2))))  # float64, two channels
    hand, score = empty_hands(1, 5)
    make_clip(hand=hand, hand_score=score).validate('kinect_v2', None, 4)


def test_missing_entries_carry_no_meaning(make_clip):
    clip = make_clip()
    clip.body_score[0, 2] = 0
    clip.body[0, 2] = np.nan
    clip.hand_score[0, 1, 4] = 0
    clip.hand[0, 1, 4] = np.inf
    check(clip)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'clip_id': ''}, 'clip_id'),
        ({'label': 4}, r'label 4; expected a class number from 0 to 3'),
        ({'label': -1}, 'label -1'),
        ({'label': 1.0}, 'label 1.0'),
        ({'body': np.zeros((1, 5, 25, 3), np.int64)}, 'body of type int64; expected a float32'),
        ({'body': np.zeros((1, 5, 25, 3), np.float16)}, 'float16'),
        ({'body_pixel': np.zeros((1, 5, 25, 2), np.float16)}, 'body_pixel of type float16'),
        ({'hand': np.zeros((1, 2, 5, 21, 3), np.int32)}, 'hand of type int32'),
        ({'body': [[1.0]]}, 'body of type list'),
        ({'body': np.zeros((5, 25, 3), np.float32)}, r'expected \(persons, frames, joints'),
        ({'body': np.zeros((1, 0, 25, 3), np.float32)}, '1 persons and 0 frames'),
        (
            {'body': np.zeros((1, 5, 17, 3), np.float32)},
            "17 body joints; expected 25 .*'kinect_v2'",
        ),
        ({'body': np.zeros((1, 5, 25, 0), np.float32)}, 'no channels'),
        ({'body_score': np.ones((1, 4), np.float32)}, r'body_score of shape \(1, 4\)'),
        ({'hand': np.zeros((1, 2, 4, 21, 3), np.float32)}, 'hand of shape'),
        ({'hand': np.zeros((1, 2, 5, 20, 3), np.float32)}, 'hand of shape'),
        ({'hand_score': np.ones((2, 5), np.float32)}, 'hand_score of shape'),
        ({'frame_index': np.arange(6)}, r'frame_index of shape \(6,\)'),
        ({'frame_index': np.arange(5.0)}, 'frame_index of type float64'),
        ({'frame_index': np.zeros(5, np.int32)}, 'does not rise'),
        ({'frame_index': np.arange(-1, 4)}, 'does not rise'),
        ({'body_pixel': np.zeros((1, 5, 24, 2), np.float32)}, 'body_pixel of shape'),
        ({'body_score': np.full((1, 5), 87, np.float32)}, r'body_score of 87.0 \(5 of 5 wrong\)'),
        ({'hand_score': np.full((1, 2, 5), -0.1, np.float32)}, 'hand_score of -0.1'),
        ({'body_score': np.full((1, 5), np.nan, np.float32)}, 'body_score of nan'),
        ({'body': np.full((1, 5, 25, 3), 1e300)}, 'NaN or infinity in body'),
        ({'image_size': (1920,)}, 'image_size'),
        ({'image_size': (-1, 4)}, 'image_size'),
        ({'fps': float('nan')}, 'fps nan'),
    ],
)
def test_bad_clips_are_named(make_clip, fields, message):
    clip = make_clip(**fields)
    with pytest.raises(ClipError, match=message) as error:
        check(clip)
    assert repr(clip.clip_id) in str(error.value) and 'Fix:' in str(error.value)


def test_nonfinite_is_located(make_clip):
    clip = make_clip()
    clip.hand[0, 1, 3, 20, 2] = np.nan
    with pytest.raises(ClipError, match=r'NaN or infinity in hand .* = \(0, 1, 3\), 1 frames'):
        check(clip)
    clip = make_clip(body_pixel=np.zeros((1, 5, 25, 2), np.float32))
    clip.body_pixel[0, 4, 0, 0] = np.inf
    with pytest.raises(ClipError, match=r'in body .* = \(0, 4\)'):
        check(clip)


def test_hands_where_there_is_no_hand_layout(make_clip):
    with pytest.raises(ClipError, match='visible hands'):
        make_clip().validate('kinect_v2', None, 4)


def test_masking_is_the_one_repair(make_clip):
    clip = make_clip(persons=2)
    assert clip.with_nonfinite_masked() == (clip, 0)
    clip.body[1, 2, 0, 0] = np.nan
    clip.hand[0, 0, 1] = np.inf
    clip.hand_score[0, 1, 4] = np.nan
    clip.body[0, 3], clip.body_score[0, 3] = np.nan, 0  # missing already: nothing to repair
    before = clip.body_score.copy()
    masked, count = clip.with_nonfinite_masked()
    check(masked)
    assert count == 3
    assert masked.body_score[1, 2] == 0 and masked.hand_score[0, 0, 1] == 0
    assert masked.hand_score[0, 1, 4] == 0
    assert (masked.body_score != before).sum() == 1
    assert np.array_equal(clip.body_score, before) and masked.body is clip.body


def test_empty_hands_take_no_memory():
    hand, score = empty_hands(2, 300)
    assert hand.shape == (2, 2, 300, 21, 3) and score.shape == (2, 2, 300)
    assert hand.strides == (0,) * 5 and not hand.any() and not score.any()
    with pytest.raises(ValueError):
        score[0] = 1
