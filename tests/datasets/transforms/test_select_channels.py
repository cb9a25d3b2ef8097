import numpy as np
import pytest

from bharnet_mm.datasets.transforms import SelectChannels
from bharnet_mm.errors import ClipError


@pytest.mark.parametrize(
    'channels, index', ((('x', 'y'), [0, 1]), (['z', 'x'], [2, 0]), ((1,), [1]), ((0, 'z'), [0, 2]))
)
def test_channels(channels, index, make_results):
    results = make_results()
    output = SelectChannels('hand', channels)(results)
    np.testing.assert_array_equal(output['hand'], results['hand'][..., index])
    assert output['body'] is results['body']


def test_channel_that_a_clip_lacks(make_results):
    with pytest.raises(ClipError, match="'S001C001P001R001A001'.*2 channels in 'body'"):
        SelectChannels('body', ('x', 'z'))(make_results(channels=2))
