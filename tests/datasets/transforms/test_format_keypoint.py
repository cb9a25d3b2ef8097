import numpy as np
import pytest
from mmaction.datasets.transforms import FormatGCNInput, PackActionInputs

from bharnet_mm.datasets.transforms import (
    FormatBodyHand,
    FormatKeypoint,
    SelectChannels,
)
from bharnet_mm.errors import ClipError
from bharnet_mm.layouts import unified_layout


@pytest.mark.parametrize('persons', (1, 2))
@pytest.mark.parametrize('gaps', (True, False))
def test_keypoint_equals_mmaction2s(persons, gaps, make_results):
    results = make_results(persons=persons, gaps=gaps)
    keypoint = np.where(results['body_visible'][..., None, None], results['body'], 0)
    expected = FormatGCNInput(num_person=2)(dict(keypoint=keypoint))['keypoint']
    output = FormatKeypoint('body', num_persons=2)(results)
    assert output['keypoint'].dtype == expected.dtype == np.float32
    assert output['keypoint'].flags.c_contiguous
    np.testing.assert_array_equal(output['keypoint'], expected)
    assert output['keypoint_layout'] is results['body_layout']
    packed = PackActionInputs(meta_keys=('clip_id',))(output)
    assert packed['inputs'].shape == (1, 2, 50, 25, 3)
    assert packed['data_samples'].gt_label.tolist() == [3]
    assert packed['data_samples'].clip_id == results['clip_id']


def test_keypoint_of_hands(make_results):
    results = make_results(persons=2)
    output = FormatKeypoint('hand', num_persons=3)(results)
    expected = FormatBodyHand(3)(results)['hand']
    np.testing.assert_array_equal(output['keypoint'], expected[None])
    assert output['keypoint_layout'] is results['hand_layout']


def test_keypoint_of_the_unified_graph(make_results):
    results = make_results(persons=2)
    transform = FormatKeypoint('unified', num_persons=3)
    output = transform(results)
    layout = output['keypoint_layout']
    assert layout == unified_layout('kinect_v2', 'hand')
    assert output['keypoint'].shape == (1, 3, 50, layout.num_joints, 3)
    formatted = FormatBodyHand(3)(results)
    for m in range(3):
        for v, joint in enumerate(layout.joints):
            side, _, name = joint.partition('_hand.')
            if name:
                i = 2 * m + (side == 'right')
                expected = formatted['hand'][i][:, results['hand_layout'].index(name)]
            else:
                expected = formatted['body'][m][:, results['body_layout'].index(joint)]
            np.testing.assert_array_equal(output['keypoint'][0, m, :, v], expected)
    assert transform(results)['keypoint_layout'] is layout


def test_unified_graph_needs_the_same_channels(make_results):
    results = SelectChannels('hand')(make_results())
    with pytest.raises(ClipError, match='3 channels in the body and 2 in the hands'):
        FormatKeypoint('unified')(results)


def test_visibility_is_a_channel_of_every_joint_of_the_graph(make_results):
    results = make_results(frames=10, persons=2)
    plain = FormatKeypoint('unified', num_persons=2)(results)['keypoint']
    seen = FormatKeypoint('unified', num_persons=2, visibility=True)(results)['keypoint']
    np.testing.assert_array_equal(seen[..., :-1], plain)
    joints = results['body'].shape[2]
    shown = seen[0, ..., -1]
    body = np.repeat(results['body_visible'][..., None], joints, -1)
    np.testing.assert_array_equal(shown[:, :, :joints], body)
    for side in range(2):
        hand = np.repeat(results['hand_visible'][:, side, :, None], 21, -1)
        first = joints + 21 * side
        np.testing.assert_array_equal(shown[:, :, first : first + 21], hand)
