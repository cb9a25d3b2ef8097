import inspect

import numpy as np
import pytest

from bharnet_mm.datasets.store import ClipStore
from bharnet_mm.datasets.synthetic.camera import project
from bharnet_mm.datasets.synthetic.ceilings import (
    NEVER_SEEN,
    body_ceiling,
    fused_ceiling,
    hand_ceiling,
)
from bharnet_mm.datasets.synthetic.gestures import GESTURES, HAND_ACTIONS, Gesture, find_gestures
from bharnet_mm.datasets.synthetic.kinematics import hand_pose
from bharnet_mm.datasets.synthetic.sample import (
    CROP,
    FRAMES,
    LEFT_HANDED,
    SPLITS,
    SyntheticSample,
    action_envelope,
    write_sample,
)
from bharnet_mm.errors import ConfigError
from bharnet_mm.layouts import get_layout

BODY, HAND = get_layout('kinect_v2'), get_layout('hand')


@pytest.fixture(scope='module')
def clips():
    return list(SyntheticSample(seed=3, clips_per_class=8))


def only(name, repeat=0, **options):
    """The clip number `repeat` of a sample of a single class."""
    return SyntheticSample(classes=[name], **options).clip(0, repeat)


def test_ceilings_by_hand():
    assert len(GESTURES) == 16
    assert body_ceiling() == 6 / 16
    # Six hand actions; pinch and fist also with two persons.
    assert hand_ceiling(never_seen=0) == 8 / 16
    assert hand_ceiling(never_seen=0.25) == pytest.approx(0.75 * 8 / 16 + 0.25 * 2 / 16)
    # Four classes have arms and fingers of another one and differ from it in what is held.
    assert fused_ceiling(never_seen=0) == 12 / 16
    assert fused_ceiling(never_seen=0.25) == pytest.approx(0.75 * 12 / 16 + 0.25 * 6 / 16)
    assert fused_ceiling(never_seen=0.25, rgb=True) == 1
    pair = ['raise + fist', 'raise + fist + yellow stick']
    assert body_ceiling(pair) == hand_ceiling(pair) == fused_ceiling(pair) == 0.5
    pair = ['raise + point', 'raise + fist']
    assert body_ceiling(pair) == 0.5 and hand_ceiling(pair, never_seen=0) == 1
    pair = ['raise + fist', 'push + fist']
    assert body_ceiling(pair) == 1 and hand_ceiling(pair, never_seen=0) == 0.5


def test_classes_differ_as_pairs_and_names():
    assert len({(g.arm, g.hand) for g in GESTURES}) == 12
    assert len({(g.arm, g.hand, g.held) for g in GESTURES}) == 16
    assert len({g.name for g in GESTURES}) == 16
    assert {g.persons for g in GESTURES} == {1, 2}
    assert find_gestures([g.name for g in GESTURES]) == list(GESTURES)
    with pytest.raises(ConfigError, match='somersault'):
        find_gestures(['somersault'])
    with pytest.raises(ConfigError, match='no class'):
        body_ceiling([])


def test_the_body_does_not_know_the_hand():
    """Same clip number, same arm motion, another hand action: the same body, bit for bit."""
    assert 'action' not in inspect.signature(SyntheticSample.make_bodies).parameters
    for repeat in range(6):
        first, second, third = (
            only(f'raise + {hand}', repeat) for hand in ('point', 'count', 'fist')
        )
        for other in (second, third):
            for field in ('body', 'body_score', 'body_pixel', 'frame_index'):
                np.testing.assert_array_equal(getattr(first, field), getattr(other, field))
            assert (first.subject, first.camera) == (other.subject, other.camera)
            np.testing.assert_array_equal(first.hand_score, other.hand_score)
        if acting_hand(first)[1].any():
            assert np.abs(first.hand - second.hand).max() > 0.05


def test_the_hand_does_not_know_the_body():
    for one, other in (('raise + fist', 'push + fist'), ('mouth + pinch', 'circle + pinch')):
        for repeat in range(4):
            first, second = only(one, repeat), only(other, repeat)
            np.testing.assert_array_equal(first.hand, second.hand)
            np.testing.assert_array_equal(first.hand_score, second.hand_score)
            assert np.abs(first.body - second.body).max() > 0.2


def test_neither_body_nor_hand_knows_the_object():
    for repeat in range(4):
        first, second = (only(f'raise + fist{held}', repeat) for held in ('', ' + yellow stick'))
        for field in ('body', 'body_score', 'body_pixel', 'hand', 'hand_score', 'frame_index'):
            np.testing.assert_array_equal(getattr(first, field), getattr(second, field))


def test_any_pair_of_motion_and_action_has_these_properties():
    fist, point = Gesture('wave', 'fist'), Gesture('wave', 'point')
    np.testing.assert_array_equal(only(fist).body, only(point).body)


def test_same_seed_same_clips_other_seed_other_clips(clips):
    again = SyntheticSample(seed=3, clips_per_class=8).clip(4, 5)
    clip = clips[4 * 8 + 5]
    assert clip.clip_id == again.clip_id and clip.label == 4
    np.testing.assert_array_equal(clip.body, again.body)
    np.testing.assert_array_equal(clip.hand, again.hand)
    other = SyntheticSample(seed=4, clips_per_class=8).clip(4, 5)
    assert other.body.shape != clip.body.shape or np.abs(other.body - clip.body).max() > 0.01


def test_no_two_clips_share_a_body(clips):
    firsts = {clip.body[0, clip.body_score[0] > 0][0].tobytes() for clip in clips}
    assert len(firsts) == len(clips)


def test_clips_are_valid_and_varied(clips):
    for clip in clips:
        clip.validate(BODY, HAND, 16)
        assert FRAMES[0] <= clip.body.shape[1] <= FRAMES[1]
        assert len(clip.body) == GESTURES[clip.label].persons
    assert len({clip.body.shape[1] for clip in clips}) > 20
    assert len({(c.label, c.subject) for c in clips}) == 16 * 8
    assert {c.camera for c in clips} == {'1', '2', '3'}


def test_every_subject_meets_every_camera():
    sample = SyntheticSample(clips_per_class=24, classes=GESTURES[:1])
    seen = [(clip.subject, clip.camera) for clip in sample]
    assert len(set(seen)) == len(seen) == 24


def test_hands_are_missing_as_often_as_said():
    sample = SyntheticSample(clips_per_class=1500, classes=['wave + open and close'])
    never = np.zeros((2, 2))  # acting or other; number, of
    envelope = np.ones(31)
    for number in range(1500):
        subject = str(number % 8 + 1)
        _, score = sample.make_hands('fist', 1, number, subject, envelope, 0.0)
        for side in range(2):
            acting = side == (0 if subject in LEFT_HANDED else 1)
            never[0 if acting else 1] += (not score[0, side].any(), 1)
    share = never[:, 0] / never[:, 1]
    # The many stretches of a short clip can hide a hand too, hence not below the given chance.
    error = np.sqrt(np.array(NEVER_SEEN) * (1 - np.array(NEVER_SEEN)) / 1500)
    assert (np.abs(share - NEVER_SEEN) < 4 * error).all(), share


def test_partly_missing_hands_are_there_too(clips):
    score = [s for clip in clips for s in clip.hand_score.reshape(-1, clip.hand_score.shape[-1])]
    partly = np.mean([0 < (s > 0).mean() < 1 for s in score])
    assert 0.3 < partly < 0.9
    for clip in clips:
        assert not clip.hand[clip.hand_score == 0].any()
        assert not clip.body[clip.body_score == 0].any()


def acting_hand(clip):
    side = 0 if clip.subject in LEFT_HANDED else 1
    return clip.hand[0, side], clip.hand_score[0, side] > 0


def middle_frames(seen):
    frames = np.flatnonzero(seen)
    return frames[(frames > 0.35 * len(seen)) & (frames < 0.65 * len(seen))]


def mean_distance(name, first, second, repeats=10):
    """Mean distance of two joints in the middle of some clips, in fractions of the crop."""
    values = []
    for repeat in range(repeats):
        hand, seen = acting_hand(only(name, repeat))
        points = hand[middle_frames(seen)]
        gap = points[:, HAND.index(first)] - points[:, HAND.index(second)]
        values += np.linalg.norm(gap, axis=-1).tolist()
    return np.mean(values)


def test_hand_actions_look_like_their_names():
    fist, point, pinch = 'push + fist', 'circle + point', 'circle + pinch'
    assert mean_distance(point, 'index_tip', 'wrist') > 1.5 * mean_distance(
        fist, 'index_tip', 'wrist'
    )
    assert mean_distance(point, 'middle_tip', 'wrist') < 0.7 * mean_distance(
        point, 'index_tip', 'wrist'
    )
    # The tips are a centimetre apart, plus the sensor's noise.
    assert mean_distance(pinch, 'thumb_tip', 'index_tip') < 0.01 / CROP + 0.04
    assert mean_distance(pinch, 'middle_tip', 'wrist') > mean_distance(fist, 'middle_tip', 'wrist')
    hand, seen = acting_hand(only('push + thumb up', 1))
    thumb = hand[middle_frames(seen)][:, HAND.index('thumb_tip'), 1]
    rest = np.delete(hand[middle_frames(seen)][..., 1], [3, 4], axis=1)
    assert (thumb < rest.min(axis=1)).all()  # y points down


def test_pinch_closes_and_counting_counts():
    time = np.arange(200) / 30
    progress = np.linspace(0, 1, 200)
    rng = np.random.default_rng(0)
    shape = hand_pose(HAND_ACTIONS['pinch'].angles(rng, time, progress), 0.19)
    gap = shape[:, HAND.index('thumb_tip')] - shape[:, HAND.index('index_tip')]
    assert np.linalg.norm(gap, axis=1).mean() < 0.015
    shape = hand_pose(HAND_ACTIONS['count'].angles(rng, time, progress), 0.19)
    tips = [HAND.index(f'{f}_tip') for f in ('index', 'middle', 'ring', 'pinky')]
    stretched = (np.linalg.norm(shape[:, tips], axis=-1) > 0.125).sum(axis=1)
    assert [stretched[np.abs(progress - p).argmin()] for p in (0.0, 0.2, 0.4, 0.6, 0.8)] == [
        0,
        1,
        2,
        3,
        4,
    ]


@pytest.mark.parametrize(('arm', 'above'), [('raise', True), ('push', False), ('circle', False)])
def test_the_acting_hand_is_where_the_motion_says(arm, above):
    for repeat in range(8):
        clip = only(Gesture(arm, 'fist'), repeat)
        side = 'left' if clip.subject in LEFT_HANDED else 'right'
        body = clip.body[0][middle_frames(clip.body_score[0] > 0)]
        wrist, head = body[:, BODY.index(f'{side}_wrist')], body[:, BODY.index('head')]
        assert ((wrist[:, 1] > head[:, 1] - 0.05) == above).all()


def test_the_mouth_is_reached():
    for repeat in range(8):
        clip = only('mouth + pinch', repeat)
        side = 'left' if clip.subject in LEFT_HANDED else 'right'
        body = clip.body[0][middle_frames(clip.body_score[0] > 0)]
        gap = body[:, BODY.index(f'{side}_hand')] - body[:, BODY.index('head')]
        assert np.linalg.norm(gap, axis=1).min() < 0.28


def test_two_persons_face_each_other():
    clip = only('reach to another + fist', 1)  # camera 2, from the front
    seen = (clip.body_score > 0).all(axis=0)
    body = clip.body[:, seen]
    body = body[np.argsort(body[:, 0, BODY.index('spine_base'), 0])]
    toes = body[:, :, BODY.index('left_foot'), 0] - body[:, :, BODY.index('left_ankle'), 0]
    assert toes[0].mean() > 0 > toes[1].mean()
    apart = body[1, :, BODY.index('spine_base')] - body[0, :, BODY.index('spine_base')]
    assert 0.9 < np.linalg.norm(apart, axis=1).mean() < 2.2


def test_pixels_lie_in_the_picture_where_the_joints_are(clips):
    for clip in clips:
        seen = clip.body_score > 0
        pixel = clip.body_pixel[seen]
        assert (pixel[..., 0] > 0).all() and (pixel[..., 0] < 1920).all()
        np.testing.assert_allclose(pixel, project(clip.body[seen].astype(float)), atol=12)
    np.testing.assert_allclose(project(np.array([0, 0, 3.0])), (960, 540))
    offset = project(np.array([0.5, 0.5, 3.0])) - (960, 540)
    np.testing.assert_allclose(offset, [1060 / 6, -1060 / 6])


def test_wrist_joints_are_noisier_than_the_trunk(clips):
    def jitter(name):
        rows = [c.body[0, :, BODY.index(name)] for c in clips if (c.body_score[0] > 0).all()]
        return np.median([np.abs(np.diff(r, n=3, axis=0)).mean() for r in rows])

    assert jitter('left_hand_tip') > 2 * jitter('left_wrist') > 2 * jitter('spine_mid')


def test_envelope():
    for seed in range(20):
        envelope = action_envelope(np.random.default_rng(seed), 40)
        assert envelope.min() >= 0 and envelope.max() <= 1
        assert envelope[16:22].min() > 0.99 and envelope[0] < 0.01 and envelope[-1] < 0.2


def test_store_is_labelled_synthetic_and_its_splits_are_clean(tmp_path):
    sample = write_sample(tmp_path / 'sample', clips_per_class=8)
    store = ClipStore(tmp_path / 'sample')
    assert store.meta['name'] == 'synthetic sample' and len(store) == len(sample) == 128
    assert store.classes == [g.name for g in GESTURES] and set(store.splits) == set(SPLITS)
    assert store.verify() == []
    for protocol, field in (('xsub', 'subject'), ('xview', 'camera')):
        train, test = (store.select(f'{protocol}_{part}') for part in ('train', 'test'))
        assert len(train) + len(test) == 128 and not set(train) & set(test)
        values = store.column(field)
        assert not set(values[train]) & set(values[test])
        assert set(store.labels[train]) == set(store.labels[test]) == set(range(16))
    for i in (0, 41, 127):
        expected = sample.clip(*divmod(i, 8))
        np.testing.assert_array_equal(store[i].body, expected.body)
        np.testing.assert_array_equal(store[i].hand, expected.hand)
        assert store[i].source == 'synthetic'


def test_bad_arguments():
    with pytest.raises(ConfigError, match='clips_per_class=0'):
        SyntheticSample(clips_per_class=0)
