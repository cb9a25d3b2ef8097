import numpy as np
import pytest

from bharnet_mm.datasets.sources.coco_wholebody import split_wholebody
from bharnet_mm.errors import SourceError


def test_parts_by_number():
    """Body 0-16, left hand 91-111, right hand 112-132."""
    keypoint = np.broadcast_to(np.arange(133.0)[:, None], (2, 4, 133, 2))
    score = np.broadcast_to(np.arange(133) / 200, (2, 4, 133))
    body, body_score, hand, hand_score = split_wholebody(keypoint, score, 'a')
    assert body.shape == (2, 4, 17, 2) and hand.shape == (2, 2, 4, 21, 2)
    np.testing.assert_array_equal(body[1, 2, :, 0], np.arange(17))
    np.testing.assert_array_equal(hand[1, 0, 2, :, 0], np.arange(91, 112))
    np.testing.assert_array_equal(hand[1, 1, 2, :, 0], np.arange(112, 133))
    np.testing.assert_array_equal(body_score[0, 0], np.arange(17) / 200)
    np.testing.assert_array_equal(hand_score[0, :, 0, 0], [91 / 200, 112 / 200])


def test_without_scores_zeros_are_missing():
    keypoint = np.ones((1, 2, 133, 2))
    keypoint[0, 1, 91:112] = 0
    *_, hand_score = split_wholebody(keypoint, None, 'a')
    assert hand_score[0, :, :, 0].tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize('shape, score', [((1, 2, 17, 2), None), ((2, 133, 2), None)])
def test_other_keypoints(shape, score):
    with pytest.raises(SourceError, match='keypoints of shape'):
        split_wholebody(np.ones(shape), score, 'clip 7')


def test_other_scores():
    with pytest.raises(SourceError, match='clip 7.*scores of shape'):
        split_wholebody(np.ones((1, 2, 133, 2)), np.ones((1, 3, 133)), 'clip 7')
