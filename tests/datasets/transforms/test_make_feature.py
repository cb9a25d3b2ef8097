import numpy as np
import pytest

from bharnet_mm.datasets.transforms import MakeFeature
from bharnet_mm.errors import ClipError


@pytest.mark.parametrize('feature', ('joint', 'bone', 'joint_motion', 'bone_motion'))
@pytest.mark.parametrize('frames', (1, 2, 30))
def test_against_a_plain_loop(feature, frames, make_results):
    results = make_results(frames=frames, persons=2, gaps=frames > 2)
    output = MakeFeature(feature)(results)
    assert output['feature'] == feature
    for part in ('body', 'hand'):
        layout = results[f'{part}_layout']
        for at in np.ndindex(results[part].shape[:-3]):
            x, visible = results[part][at], results[f'{part}_visible'][at]
            expected, seen = np.zeros_like(x), np.array(visible)
            for t in range(frames):
                for v, joint in enumerate(layout.joints):
                    u = layout.index(layout.parents.get(joint, joint))
                    bone = 'bone' in feature
                    here = x[t, v] - x[t, u] if bone else x[t, v]
                    if 'motion' not in feature:
                        expected[t, v] = here
                    elif t + 1 < frames:
                        then = x[t + 1, v] - x[t + 1, u] if bone else x[t + 1, v]
                        expected[t, v] = then - here
                if 'motion' in feature and frames > 1:
                    first = min(t, frames - 2)
                    seen[t] = visible[first] and visible[first + 1]
            np.testing.assert_array_equal(output[f'{part}_visible'][at], seen)
            np.testing.assert_array_equal(output[part][at][seen], expected[seen])


def test_bones_of_the_root_are_zero(make_results):
    output = MakeFeature('bone')(make_results())
    body = output['body'][output['body_visible']]
    np.testing.assert_array_equal(body[:, output['body_layout'].index('spine_shoulder')], 0)
    hand = output['hand'][output['hand_visible']]
    np.testing.assert_array_equal(hand[:, 0], 0)


def test_bones_do_not_feel_a_translation_nor_motions_a_constant_one(make_results):
    results = make_results(gaps=False)
    moved = results | {'body': results['body'] + np.float32(0.5)}
    for feature in ('bone', 'joint_motion', 'bone_motion'):
        a, b = MakeFeature(feature)(results), MakeFeature(feature)(moved)
        np.testing.assert_allclose(a['body'], b['body'], atol=1e-6)


def test_a_second_feature_is_refused(make_results):
    results = MakeFeature('joint')(make_results())
    with pytest.raises(ClipError, match="found the feature 'bone'"):
        MakeFeature('joint')(MakeFeature('bone')(results))
