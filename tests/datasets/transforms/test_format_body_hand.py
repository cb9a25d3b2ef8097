import numpy as np
import pytest

from bharnet_mm.datasets.transforms import (
    FormatBodyHand,
    FormatKeypoint,
)
from bharnet_mm.errors import ClipError


@pytest.mark.parametrize('persons, num_persons', ((1, 1), (1, 2), (2, 2), (2, 4)))
@pytest.mark.parametrize('gaps', (True, False))
def test_body_hand(persons, num_persons, gaps, make_results):
    results = make_results(frames=12, persons=persons, gaps=gaps, pixels=True)
    output = FormatBodyHand(num_persons)(results)
    assert output['body'].shape == (num_persons, 12, 25, 3)
    assert output['hand'].shape == (2 * num_persons, 12, 21, 3)
    assert output['body_pixel'].shape == (num_persons, 12, 25, 2)
    for m in range(num_persons):
        instances = [('body', m, (m,)), ('hand', 2 * m, (m, 0)), ('hand', 2 * m + 1, (m, 1))]
        for part, i, at in instances:
            x, mask = output[part][i], output[f'{part}_mask'][i]
            if m >= persons:
                assert not mask.any()
            else:
                np.testing.assert_array_equal(mask, results[f'{part}_visible'][at])
                np.testing.assert_array_equal(x[mask], results[part][at][mask])
            np.testing.assert_array_equal(x[~mask], 0)
    for key in ('body', 'body_mask', 'hand', 'hand_mask'):
        assert output[key].flags.c_contiguous and output[key].flags.writeable
    assert 'body_visible' not in output and 'hand_visible' not in output


@pytest.mark.parametrize('transform', (FormatBodyHand(2), FormatKeypoint('unified', 2)), ids=repr)
def test_too_many_persons(transform, make_results):
    with pytest.raises(ClipError, match=r"'S001C001P001R001A001'.*found 3 persons.*SelectPersons"):
        transform(make_results(persons=3))
