"""The transforms in a row."""

import numpy as np
import pytest
import torch
from mmaction.registry import TRANSFORMS
from mmengine.dataset import Compose

TRAIN = [
    dict(type='SelectPersons', max_persons=2),
    dict(type='InterpolateMissing', max_gap=4),
    dict(type='SampleWindow', num_frames=64, window=(0.5, 1.0), min_frames=16),
    dict(type='NormalizeSkeleton', part='body', center='first', scale='clip'),
    dict(type='NormalizeSkeleton', part='hand', space='canonical', center='frame', scale='frame'),
    dict(type='RandomMirror', prob=0.5),
    dict(type='RandomRotate', theta=0.3),
    dict(type='RandomScale', scale=0.1),
    dict(type='RandomNoise', sigma=dict(body=0.01, hand=0.01)),
    dict(type='DropHands', prob=0.3, mode='hand'),
    dict(type='MakeFeature', feature='bone_motion'),
    dict(type='FormatBodyHand', num_persons=2),
    dict(type='PackBodyHand'),
]


@pytest.fixture
def train():
    return Compose([TRANSFORMS.build(config) for config in TRAIN])


@pytest.mark.parametrize('frames', (1, 8, 80))
@pytest.mark.parametrize('persons', (1, 3))
def test_training_pipeline_follows_the_seed_and_nothing_else(
    train, frames, persons, make_results, seeded
):
    def run(seed, masked):
        seeded(seed)
        return train(make_results(frames=frames, persons=persons, masked=masked))['inputs']

    first = run(0, np.nan)
    shapes = dict(body=(2, 64, 25, 3), body_mask=(2, 64), hand=(4, 64, 21, 3), hand_mask=(4, 64))
    assert {key: tuple(value.shape) for key, value in first.items()} == shapes
    assert all(torch.isfinite(value).all() for value in first.values())
    assert first['body_mask'].any()
    for key, value in run(0, 1e30).items():
        assert torch.equal(value, first[key]), key
    if frames > 1:
        assert not torch.equal(run(1, np.nan)['body'], first['body'])


def test_test_pipeline_draws_no_random_number(make_results, seeded):
    steps = [c for c in TRAIN if not c['type'].startswith(('Random', 'Drop'))]
    steps[2] = dict(type='SampleWindow', num_frames=64, window=0.95)
    pipeline = Compose([TRANSFORMS.build(config) for config in steps])
    seeded(0)
    expected = np.random.random()
    seeded(0)
    pipeline(make_results())
    assert np.random.random() == expected
