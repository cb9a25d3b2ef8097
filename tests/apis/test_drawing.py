import numpy as np

from bharnet_mm.apis.drawing import Skeleton, draw_frame, skeletons_of_clip, skeletons_of_poses
from bharnet_mm.datasets import Clip, empty_hands
from bharnet_mm.datasets.extraction.estimators import BodyPose, HandPose
from bharnet_mm.layouts import get_layout

COCO, HAND = get_layout('coco'), get_layout('hand')


def spread(layout, size, seed=0):
    return np.random.default_rng(seed).uniform(20, np.array(size) - 20, (layout.num_joints, 2))


def test_joints_are_drawn_where_they_are_and_the_input_stays():
    image = np.zeros((120, 160, 3), np.uint8)
    points = spread(COCO, (160, 120))
    points[3] = np.nan
    points[4] = 1e9
    picture = draw_frame(image, [Skeleton(points, COCO)])
    assert not image.any() and picture.shape == image.shape
    for x, y in np.delete(points, [3, 4], 0).round().astype(int):
        assert picture[y, x].any()


def test_a_hand_has_the_color_of_its_side():
    image = np.zeros((200, 200, 3), np.uint8)
    for side in ('left', 'right'):
        picture = draw_frame(image, [Skeleton(spread(HAND, (200, 200)), HAND, side)])
        pixels = picture.reshape(-1, 3)
        assert (pixels == HAND.colors[side]).all(1).any()


def test_low_confidence_joints_and_hands_of_poses():
    score = np.ones(17)
    score[[9, 10]] = 0.1
    body = BodyPose(spread(COCO, (160, 120)), score, 0.9)
    hand = HandPose(np.zeros((21, 3)), 0.9)
    skeletons = skeletons_of_poses({4: body}, {(4, 1): hand}, 'coco')
    assert [s.side for s in skeletons] == [None, 'right']
    assert np.isnan(skeletons[0].points[[9, 10]]).all()
    assert np.isfinite(skeletons[0].points[:9]).all()


def test_a_clip_gives_its_visible_parts_in_pixels():
    body = np.full((1, 2, 17, 2), 0.5, np.float32)
    hand, hand_score = (array.copy() for array in empty_hands(1, 2, channels=2))
    hand_score[0, 0, 1], hand[0, 0, 1] = 1, 0.25
    clip = Clip('a', 0, body, np.array([[0, 1]], np.float32), hand, hand_score, np.arange(2))
    assert skeletons_of_clip(clip, 0, 'coco', (200, 100)) == []
    found = skeletons_of_clip(clip, 1, 'coco', (200, 100))
    np.testing.assert_array_equal(found[0].points, [[100, 50]] * 17)
    np.testing.assert_array_equal(found[1].points, [[50, 25]] * 21)
    assert found[1].side == 'left'


def test_text_may_have_any_letters():
    image = np.full((120, 160, 3), 128, np.uint8)
    plain, accents = (draw_frame(image, [], [text]) for text in ('ecrire', 'écrire'))
    assert (plain != image).any() and (plain != accents).any()
    assert (plain[80:] == image[80:]).all()
