import random
from types import SimpleNamespace

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from bharnet_mm.engine import EpochSeedHook


class Draws(Dataset):
    """Every item is what the generators say."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return torch.tensor([np.random.rand(), random.random()], dtype=torch.float64)


def runner(workers=0, epoch=0, rank=0, seed=1):
    loader = DataLoader(Draws(), batch_size=2, num_workers=workers)
    return SimpleNamespace(train_dataloader=loader, epoch=epoch, rank=rank, seed=seed)


def draw(run, epochs):
    """What a training run of these epochs draws, (epochs, 4, 2)."""
    hook = EpochSeedHook()
    hook.before_train(run)
    drawn = []
    for run.epoch in epochs:
        hook.before_train_epoch(run)
        drawn.append(torch.cat([*run.train_dataloader]))
    return torch.stack(drawn)


def check_resumed(workers):
    straight = draw(runner(workers), [0, 1, 2])
    np.random.rand(7)  # whatever happened before the run was resumed
    assert torch.equal(draw(runner(workers), [1, 2]), straight[1:])
    assert len(straight.flatten().unique()) == straight.numel(), 'epochs or workers repeat a draw'


def test_resumed_run_draws_the_same():
    check_resumed(0)


def test_resumed_run_draws_the_same_in_workers():
    check_resumed(2)


def test_seed_and_rank_matter():
    first = draw(runner(), [0])
    assert not torch.equal(draw(runner(seed=2), [0]), first)
    assert not torch.equal(draw(runner(rank=1), [0]), first)


def test_torch_is_seeded():
    hook, values = EpochSeedHook(), []
    for epoch in (0, 1, 0):
        hook.before_train_epoch(runner(epoch=epoch))
        values.append(torch.rand(3))
    assert torch.equal(values[0], values[2]) and not torch.equal(values[0], values[1])
