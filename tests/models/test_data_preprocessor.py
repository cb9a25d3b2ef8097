"""The preprocessor by itself; with a model it is tested in test_recognizer.py."""

import pytest
import torch
from mmaction.structures import ActionDataSample

from bharnet_mm.errors import ConfigError
from bharnet_mm.models import BodyHandPreprocessor


def clips(number: int = 6) -> dict:
    torch.manual_seed(0)
    inputs = dict(
        body=[torch.randn(2, 4, 5, 3) for _ in range(number)],
        body_mask=[torch.ones(2, 4, dtype=torch.bool) for _ in range(number)],
        hand=[torch.randn(4, 4, 21, 3) for _ in range(number)],
        hand_mask=[torch.zeros(4, 4, dtype=torch.bool) for _ in range(number)],
    )
    inputs['body_mask'][0][1] = False
    samples = [ActionDataSample().set_gt_label(i) for i in range(number)]
    return dict(inputs=inputs, data_samples=samples)


def test_counts_rows_only_with_buckets():
    assert not any(name.endswith('_rows') for name in BodyHandPreprocessor()(clips())['inputs'])
    inputs = BodyHandPreprocessor(bucket_steps=4)(clips())['inputs']
    assert inputs['body_rows'] == 12 and inputs['hand_rows'] == 1  # of 11 and of none
    coarse = BodyHandPreprocessor(bucket_steps=1)(clips())['inputs']
    assert coarse['body_rows'] == 12  # 16, but there are 12 slots


def test_counts_the_clips_with_a_picture():
    data = clips()
    data['inputs']['rgb'] = [torch.zeros(3, 4, 4, dtype=torch.uint8)] * 6
    data['inputs']['rgb_mask'] = [torch.ones(2, 2, dtype=torch.bool)] * 5 + [
        torch.zeros(2, 2, dtype=torch.bool)
    ]
    inputs = BodyHandPreprocessor(bucket_steps=4)(data)['inputs']
    assert inputs['rgb_rows'] == 5 and inputs['rgb'].dtype == torch.float32


def test_refuses_no_bucket():
    with pytest.raises(ConfigError, match='bucket_steps=0'):
        BodyHandPreprocessor(bucket_steps=0)
