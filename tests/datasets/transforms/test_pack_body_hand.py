import numpy as np
import pytest
import torch
from mmaction.structures import ActionDataSample

from bharnet_mm.datasets.transforms import (
    FormatBodyHand,
    PackBodyHand,
)


def test_pack(make_results):
    results = FormatBodyHand(2)(make_results(frames=9))
    packed = PackBodyHand()(results)
    assert set(packed) == {'inputs', 'data_samples'}
    assert set(packed['inputs']) == {'body', 'body_mask', 'hand', 'hand_mask'}
    for key, value in packed['inputs'].items():
        assert isinstance(value, torch.Tensor)
        assert value.dtype == (torch.bool if 'mask' in key else torch.float32)
        np.testing.assert_array_equal(value.numpy(), results[key])
    sample = packed['data_samples']
    assert isinstance(sample, ActionDataSample)
    assert sample.gt_label.dtype == torch.int64 and sample.gt_label.tolist() == [3]
    assert sample.metainfo == dict(
        clip_id='S001C001P001R001A001', total_frames=9, video='S001C001P001R001A001_rgb.avi'
    )


def test_pack_takes_named_keys_and_does_without_a_label(make_results):
    results = FormatBodyHand(2)(make_results(frames=9))
    del results['label']
    sample = PackBodyHand(meta_keys=('fps', 'mirrored'))(results)['data_samples']
    assert sample.metainfo == dict(fps=30.0) and 'gt_label' not in sample


@pytest.mark.parametrize('label', (np.int64(2), np.array(2), torch.tensor(2)))
def test_pack_takes_any_kind_of_number_as_label(label, make_results):
    results = FormatBodyHand(2)(make_results(frames=9)) | dict(label=label)
    assert PackBodyHand()(results)['data_samples'].gt_label.tolist() == [2]
