import numpy as np
import pytest
import torch
from mmaction.registry import MODELS, TRANSFORMS

import bharnet_mm  # noqa: F401
from bharnet_mm.errors import ConfigError


def test_one_picture_of_a_clip():
    rgb = np.random.default_rng(0).integers(256, size=(3, 20, 30)).astype(np.uint8)
    results = TRANSFORMS.build(dict(type='FormatGrid'))(dict(rgb=rgb, label=2))
    assert results['imgs'].shape == (1, 3, 20, 30) and results['imgs'].dtype == np.uint8
    assert (results['imgs'][0] == rgb).all()


def test_stock_packing_and_preprocessing_follow():
    rgb = np.random.default_rng(0).integers(256, size=(3, 20, 30)).astype(np.uint8)
    results = TRANSFORMS.build(dict(type='FormatGrid'))(dict(rgb=rgb, label=2))
    packed = TRANSFORMS.build(dict(type='PackActionInputs', meta_keys=()))(results)
    preprocessor = MODELS.build(
        dict(type='ActionDataPreprocessor', mean=[10.0, 20.0, 30.0], std=[2.0, 4.0, 8.0])
    )
    data = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    found = preprocessor(data)['inputs']
    expected = (rgb - np.array([10, 20, 30])[:, None, None]) / np.array([2, 4, 8])[:, None, None]
    torch.testing.assert_close(found, torch.from_numpy(expected).float()[None, None])


def test_without_regions():
    with pytest.raises(ConfigError, match="no key 'rgb'"):
        TRANSFORMS.build(dict(type='FormatGrid'))(dict(label=2))
