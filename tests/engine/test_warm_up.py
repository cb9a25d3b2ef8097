"""The two schedules are MMEngine's, over the epochs that their names say."""

import pytest
import torch
from mmaction.registry import PARAM_SCHEDULERS
from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR
from torch.optim import SGD

from bharnet_mm.engine.warm_up import WarmedCosineLR, WarmUpLR

STEPS = 3  # iterations of an epoch


def rates(schedules, optimizer, epochs):
    found = []
    for _ in range(epochs * STEPS):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    return found


def optimizer():
    return SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


@pytest.mark.parametrize(
    'epochs, warmup, end', [(30, 2, 2), (40, 5, 5), (4, 5, 2), (2, 2, 1), (1, 2, 1)]
)
def test_rates_are_those_of_mmengine_over_these_epochs(epochs, warmup, end):
    options = dict(optimizer=optimizer(), epoch_length=STEPS)
    ours = [
        PARAM_SCHEDULERS.build(
            dict(type=kind, warmup=warmup, end=epochs, convert_to_iter_based=True, **more),
            default_args=options,
        )
        for kind, more in (('WarmUpLR', dict(start_factor=0.1)), ('WarmedCosineLR', {}))
    ]
    theirs_on = optimizer()
    last = max(epochs, end + 1)
    theirs = [
        LinearLR.build_iter_from_epoch(
            theirs_on, start_factor=0.1, begin=0, end=end, epoch_length=STEPS
        ),
        CosineAnnealingLR.build_iter_from_epoch(
            theirs_on, T_max=last - end, begin=end, end=last, epoch_length=STEPS
        ),
    ]
    assert isinstance(ours[0], WarmUpLR) and isinstance(ours[1], WarmedCosineLR)
    assert rates(ours, options['optimizer'], epochs) == rates(theirs, theirs_on, epochs)
