import numpy as np
import pytest

from bharnet_mm.datasets.transforms import DropFrames


@pytest.mark.parametrize('ratio, lost', ((0.0, 0), (0.3, 30), (0.999, 99), (1.0, 100)))
def test_frames_are_lost_in_all_parts(ratio, lost, make_results):
    results = make_results(frames=100, persons=2, gaps=False)
    output = DropFrames(ratio)(results)
    gone = ~output['body_visible'][0]
    assert gone.sum() == lost
    np.testing.assert_array_equal(output['body_visible'], np.broadcast_to(~gone, (2, 100)))
    np.testing.assert_array_equal(output['hand_visible'], np.broadcast_to(~gone, (2, 2, 100)))
    assert output['body'] is results['body']


def test_only_visible_frames_count(make_results):
    results = make_results(frames=20, gaps=False)
    visible = np.zeros((1, 2, 20), dtype=bool)
    visible[0, 0, 3:7] = visible[0, 1, 5:9] = True
    results['hand_visible'] = visible
    output = DropFrames(0.5, parts=('hand',))(results)
    assert output['hand_visible'].any(axis=(0, 1)).sum() == 3
    assert output['body_visible'] is results['body_visible']


def test_every_frame_is_lost_equally_often(make_results, seeded):
    results = make_results(frames=10, gaps=False)
    transform = DropFrames((0.2, 0.6))
    seeded(0)
    lost = np.array([~transform(results)['body_visible'][0] for _ in range(2000)])
    assert set(lost.sum(axis=1)) <= {2, 3, 4, 5, 6}
    np.testing.assert_allclose(lost.mean(axis=0), lost.mean(), atol=0.05)
