import numpy as np
import pytest

from bharnet_mm.datasets.transforms import DropJoints, FormatBodyHand
from bharnet_mm.errors import ClipError


def test_the_same_joints_in_all_frames_and_persons(make_results, seeded):
    results = make_results(frames=6, persons=2, gaps=False)
    seeded(0)
    joints = results['body'].shape[2]
    counts, often = [], np.zeros(joints)
    for _ in range(400):
        done = DropJoints((4, 12), prob=1.0)(results)
        lost = ~done['body_joint_visible'].any((0, 1))
        assert (~done['body_joint_visible'] == lost).all()
        assert not done['body'][:, :, lost].any()
        np.testing.assert_array_equal(done['body'][:, :, ~lost], results['body'][:, :, ~lost])
        counts.append(int(lost.sum()))
        often += lost
    assert set(counts) == set(range(4, 13))
    np.testing.assert_allclose(often / 400, 8 / joints, atol=0.1)
    np.testing.assert_array_equal(done['hand'], results['hand'])


def test_the_channel_of_visibility_says_so(make_results, seeded):
    seeded(1)
    done = DropJoints((2, 2), prob=1.0, parts=('body', 'hand'))(make_results(frames=6, gaps=False))
    body_lost = ~done['body_joint_visible'][0, 0]
    packed = FormatBodyHand(num_persons=2, visibility=True)(done)
    np.testing.assert_array_equal(packed['body'][0, 0, :, 3] == 0, body_lost)
    assert (packed['hand'][..., 3].sum(-1) <= 19).all()


def test_some_clips_are_left_and_a_small_part_is_refused(make_results, seeded):
    results = make_results(frames=6)
    seeded(0)
    changed = ['body_joint_visible' in DropJoints((1, 2), prob=0.5)(results) for _ in range(200)]
    assert 0.4 < np.mean(changed) < 0.6
    with pytest.raises(ClipError, match='21 joints'):
        DropJoints((1, 21), parts=('hand',))(results)
