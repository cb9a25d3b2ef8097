import numpy as np
import pytest

from bharnet_mm.datasets.transforms import SelectPersons


def shown(results, body, hand):
    """The same clip with only these persons' bodies and these persons' right hands visible."""
    body_visible = np.zeros_like(results['body_visible'])
    hand_visible = np.zeros_like(results['hand_visible'])
    body_visible[body, 3] = True
    hand_visible[hand, 1, 4] = True
    return results | dict(body_visible=body_visible, hand_visible=hand_visible)


@pytest.mark.parametrize(
    'body, hand, limit, kept',
    (
        ([0, 1, 2, 3], [], 2, [0, 1]),
        ([1, 3], [], 2, [1, 3]),
        ([1, 3], [0], 2, [0, 1]),
        ([3], [], 4, [3]),
        ([0, 1, 2, 3], [], 9, [0, 1, 2, 3]),
        ([], [2], 1, [2]),
        ([], [], 2, [0]),
    ),
)
def test_persons(body, hand, limit, kept, make_results):
    results = shown(make_results(frames=6, persons=4, masked=0.0, pixels=True), body, hand)
    output = SelectPersons(limit)(results)
    for key in ('body', 'body_visible', 'hand', 'hand_visible', 'body_pixel'):
        np.testing.assert_array_equal(output[key], results[key][kept])
