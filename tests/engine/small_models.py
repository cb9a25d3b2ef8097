"""A small model and clips for the tests of CUDA graphs."""

import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.registry import init_default_scope

import bharnet_mm  # noqa: F401
from bharnet_mm.experiments import contenders


def build(name='p', **options):
    init_default_scope('mmaction')
    torch.manual_seed(0)
    small = dict(base_channels=16, num_blocks=3, widen_at=(2,), stride_at=(2,)) | options
    changes = {f'backbone__{part}__{k}': v for part in ('body', 'hand') for k, v in small.items()}
    changes['cls_head__in_channels'] = 32
    return MODELS.build(contenders.shipped(f'bharnet_{name}_ntu120', **changes))


def data(number: int = 5, seed: int = 0) -> dict:
    """Clips as the data loader gives them: some instances and frames are missing."""
    g = torch.Generator().manual_seed(seed)
    inputs = dict(
        body=[torch.randn(2, 16, 25, 3, generator=g) for _ in range(number)],
        body_mask=[torch.rand(2, 16, generator=g) > 0.2 for _ in range(number)],
        hand=[torch.randn(4, 16, 21, 3, generator=g) for _ in range(number)],
        hand_mask=[torch.rand(4, 16, generator=g) > 0.2 for _ in range(number)],
    )
    for i in range(number):
        inputs['body_mask'][i][1] &= bool(i % 3)
        inputs['hand_mask'][i][i % 4] = False
    samples = [ActionDataSample().set_gt_label(i) for i in range(number)]
    return dict(inputs=inputs, data_samples=samples)
