import numpy as np
import pytest
import torch

from bharnet_mm.errors import ConfigError
from bharnet_mm.features import FEATURES, check_feature, make_feature
from bharnet_mm.layouts import get_layout


@pytest.mark.parametrize('feature', FEATURES)
def test_against_loops_in_numpy_and_torch(feature):
    rng = np.random.default_rng(0)
    layout = get_layout('hand')
    x = rng.normal(size=(2, 3, 5, 21, 3)).astype(np.float32)
    visible = rng.random((2, 3, 5)) > 0.3
    before = x.copy(), visible.copy()
    base = x.copy()
    if feature.startswith('bone'):
        for v, parent in enumerate(layout.parent_index):
            base[..., v, :] = x[..., v, :] - x[..., parent, :]
    expected, seen = base.copy(), visible.copy()
    if feature.endswith('motion'):
        for t in range(4):
            expected[..., t, :, :] = base[..., t + 1, :, :] - base[..., t, :, :]
            seen[..., t] = visible[..., t] & visible[..., t + 1]
        expected[..., 4, :, :] = 0
        seen[..., 4] = seen[..., 3]
    out, mask = make_feature(x, visible, layout.parent_index, feature)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(mask, seen)
    tensors = [torch.tensor(a) for a in (x, visible, layout.parent_index)]
    for a, b in zip(make_feature(*tensors, feature), (out, mask), strict=True):
        np.testing.assert_array_equal(a.numpy(), b)
    for array, original in zip((x, visible), before, strict=True):
        np.testing.assert_array_equal(array, original)


def test_one_frame_has_no_motion_and_stays_visible():
    x, visible = np.ones((1, 1, 21, 2)), np.ones((1, 1), bool)
    out, mask = make_feature(x, visible, get_layout('hand').parent_index, 'joint_motion')
    assert not out.any() and mask.all()


def test_unknown():
    with pytest.raises(ConfigError, match='bone_motion'):
        check_feature('velocity')
