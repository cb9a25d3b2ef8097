import numpy as np
import pytest

from bharnet_mm.datasets.transforms import KeepRaisedHands, SampleWindow
from bharnet_mm.errors import ConfigError
from bharnet_mm.layouts import get_layout

COCO, HAND = get_layout('coco'), get_layout('hand')


def make(drops, frames=10):
    """One person, shoulders 2 apart around (0, 0); hands ``drops[side][t]`` below them, None
    missing.
    """
    body = np.zeros((1, frames, 17, 2), np.float32)
    body[:, :, COCO.index('left_shoulder'), 0] = 1
    body[:, :, COCO.index('right_shoulder'), 0] = -1
    hand = np.full((1, 2, frames, 21, 2), np.nan, np.float32)
    seen = np.zeros((1, 2, frames), bool)
    for side, values in enumerate(drops):
        for t, drop in enumerate(values):
            if drop is not None:
                hand[0, side, t], seen[0, side, t] = 0, True
                hand[0, side, t, 0, 1] = 2 * drop
    return dict(
        clip_id='c',
        body=body,
        body_visible=np.ones((1, frames), bool),
        body_layout=COCO,
        hand=hand,
        hand_visible=seen,
        hand_layout=HAND,
        frame_index=np.arange(frames),
    )


def test_hands_at_rest_and_the_time_around_are_left_out():
    left = [1.5] * 10
    right = [1.6, 1.4, 0.5, 0.2, 0.2, None, 0.9, 1.2, 1.4, 1.6]
    out = KeepRaisedHands()(make((left, right)))
    assert not out['hand_visible'][0, 0].any()
    assert out['hand_visible'][0, 1].nonzero()[0].tolist() == [2, 3, 4, 6]
    assert out['body_visible'][0].nonzero()[0].tolist() == [2, 3, 4, 5, 6]
    window = SampleWindow(num_frames=5, window=1.0)(out)
    assert window['frame_index'].tolist() == [2, 3, 4, 5, 6]


def test_reach_and_scale():
    results = make(([0.8] * 10, [1.2] * 10))
    assert KeepRaisedHands(0.7)(results)['hand_visible'].sum() == 0
    assert KeepRaisedHands(1.0)(results)['hand_visible'].sum() == 10
    assert KeepRaisedHands(1.3)(results)['hand_visible'].sum() == 20
    bigger = results | {name: 7 * results[name] + 3 for name in ('body', 'hand')}
    np.testing.assert_array_equal(
        KeepRaisedHands()(bigger)['hand_visible'], KeepRaisedHands()(results)['hand_visible']
    )


def test_nothing_raised_keeps_every_frame():
    for drops in (([None] * 10, [None] * 10), ([1.5] * 10, [None] * 10)):
        out = KeepRaisedHands()(make(drops))
        assert out['body_visible'].all() and not out['hand_visible'].any()


def test_without_a_body_nothing_speaks_against_a_hand():
    results = make(([1.5] * 10, [None] * 10))
    results['body_visible'] = np.zeros((1, 10), bool)
    assert KeepRaisedHands()(results)['hand_visible'].sum() == 10


def test_wrong_reach():
    with pytest.raises(ConfigError, match='reach'):
        KeepRaisedHands(0)
