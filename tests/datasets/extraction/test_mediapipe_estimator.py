import importlib.util
from pathlib import Path

import numpy as np
import pytest

from bharnet_mm.datasets.extraction.estimators import LEFT, RIGHT, Arm, HandPose, build_estimator
from bharnet_mm.datasets.extraction.extract import extract_clip
from bharnet_mm.datasets.extraction.mediapipe_estimator import MediaPipeEstimator, _paint_over
from bharnet_mm.datasets.extraction.tracking import HandTracker
from bharnet_mm.datasets.video import open_video
from bharnet_mm.errors import ConfigError
from bharnet_mm.layouts import get_layout

VIDEOS = Path(__file__).parents[4] / 'shared' / 'data' / 'videos'
LAYOUT = get_layout('mediapipe_pose')

needs_mediapipe = pytest.mark.skipif(
    importlib.util.find_spec('mediapipe') is None,
    reason='mediapipe is not installed (pip install -r requirements/extract.txt)',
)
needs_videos = pytest.mark.skipif(not VIDEOS.is_dir(), reason='no ../shared/data/videos here')


@pytest.fixture(scope='module')
def estimator():
    return build_estimator('mediapipe')


def frames_of(name, start, stop):
    frames = open_video(VIDEOS / name)[1]
    return [frame for i, frame in zip(range(stop), frames, strict=False) if i >= start]


@needs_mediapipe
@needs_videos
@pytest.mark.parametrize(
    ('name', 'start', 'least'), [('milk.mkv', 15, 20), ('book.mkv', 80, 18), ('help.mkv', 24, 19)]
)
def test_hands_hang_on_their_own_arms(estimator, name, start, least):
    """One hand raised; both hands together; one hand on the other."""
    frames = frames_of(name, start, start + 10)
    clip = extract_clip(frames, estimator, name)
    clip.validate('mediapipe_pose')
    assert (clip.hand_score[0] > 0).sum() >= least
    size = np.array([640, 480])
    wrists = clip.body_pixel[0][:, [LAYOUT.index('left_wrist'), LAYOUT.index('right_wrist')]]
    hands = clip.hand[0, :, :, 0, :2].swapaxes(0, 1) * size  # (T, 2, 2)
    seen = clip.hand_score[0].T > 0
    for side in (LEFT, RIGHT):
        own = np.linalg.norm(hands[:, side] - wrists[:, side], axis=-1)[seen[:, side]]
        assert np.median(own) < 40
    both = seen.all(axis=1)
    apart = np.linalg.norm(clip.hand[0, 0] - clip.hand[0, 1], axis=-1).mean(axis=-1)[both]
    assert (apart > 0.02).all()  # never one hand twice


@needs_mediapipe
@needs_videos
def test_a_mirrored_video_gives_the_other_hand(estimator):
    frames = frames_of('milk.mkv', 15, 21)
    clip = extract_clip(frames, estimator, 'a')
    mirrored = extract_clip([np.ascontiguousarray(f[:, ::-1]) for f in frames], estimator, 'b')
    seen = (clip.hand_score[0, ::-1] > 0) & (mirrored.hand_score[0] > 0)
    assert seen.sum() >= 9
    back = mirrored.hand[0, ..., 0]
    difference = np.abs(clip.hand[0, ::-1, ..., 0] - (1 - back))[seen]
    assert np.median(difference) < 0.02


@needs_mediapipe
@needs_videos
def test_a_video_does_not_depend_on_the_one_before(estimator):
    frames = frames_of('yes.mkv', 20, 24)
    first = extract_clip(frames, estimator, 'a')
    extract_clip(frames_of('milk.mkv', 0, 3), estimator, 'b')
    again = extract_clip(frames, estimator, 'a')
    np.testing.assert_array_equal(first.hand, again.hand)
    np.testing.assert_array_equal(first.body, again.body)


@pytest.fixture
def looked(estimator, monkeypatch):
    """The centres of the regions in which a hand is looked for; there is none."""
    centers = []

    def landmark(image, region):
        centers.append(np.array(region.center))
        return HandPose(np.zeros((21, 3)), 0.0)

    monkeypatch.setattr(estimator, '_landmark', landmark)
    return centers


@needs_mediapipe
def test_no_place_is_searched_twice_while_nothing_changes(estimator, looked):
    tracker = HandTracker(estimator)
    image = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)

    def step(picture):
        looked.clear()
        arm = Arm(np.array([100.0, 100.0]), np.array([100.0, 150.0]), 50.0)
        assert tracker.step(picture, [arm]) == {}
        return len(looked)

    assert step(image) >= 3
    assert [step(image) for _ in range(3)] == [0, 0, 0]
    assert step(image[::-1, ::-1]) > 0


@needs_mediapipe
def test_a_hand_is_searched_in_the_direction_of_the_knuckles(estimator, looked):
    image = np.zeros((200, 200, 3), np.uint8)
    wrist, elbow = np.array([100.0, 100.0]), np.array([100.0, 150.0])
    arm = Arm(wrist, elbow, 50.0, knuckles=wrist + [10, 0], search=1)
    estimator.hands(image, [arm])
    assert any(np.allclose(center, wrist + [17.5, 0]) for center in looked)
    looked.clear()
    estimator.hands(image, [Arm(wrist, elbow, 50.0, search=1)])
    assert any(np.allclose(center, wrist - [0, 17.5]) for center in looked)


@needs_mediapipe
def test_nothing_in_an_empty_picture(estimator):
    estimator.start()
    assert estimator.bodies(np.full((120, 160, 3), 128, np.uint8)) == []
    assert 'min_score=0.5' in repr(estimator)


def test_it_takes_no_models():
    with pytest.raises(ConfigError, match='models'):
        MediaPipeEstimator(models='somewhere')


def test_painting_over_covers_the_hand_and_leaves_the_rest():
    from fake_estimator import hand_at

    image = np.full((100, 100, 3), 50, np.uint8)
    image[30:50, 40:60] = 255
    hand = hand_at((50, 50))
    out = _paint_over(image, [hand])
    assert out[40, 50].max() < 255 and (out[:, 70:] == 50).all() and image[40, 50].max() == 255
    outside = hand_at((-50, -50))
    np.testing.assert_array_equal(_paint_over(image, [outside]), image)
