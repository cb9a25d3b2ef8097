"""Random numbers that depend on the epoch and not on when the run was started."""

import random
from typing import Any

import numpy as np
import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


def seed_worker(worker_id: int) -> None:
    """Seeds Python and NumPy in a data-loader worker from torch's seed, new at each start."""
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds Python, NumPy and torch from (seed, epoch, rank, iteration) throughout training.

    This has two effects. A resumed run draws the augmentations and dropout masks that the
    uninterrupted one would have drawn, also within an epoch. This is exact with ``num_workers=0``
    or ``persistent_workers=False``. Persistent workers have their own random streams, which start
    again. And augmentations differ between epochs: MMEngine seeds workers alike at every start, so
    without persistent workers all epochs would have the same augmentations.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Makes the workers follow torch's seed."""
        runner.train_dataloader.worker_init_fn = seed_worker

    def before_train_epoch(self, runner: Runner) -> None:
        """Seeds all generators of this process, from which the workers get theirs."""
        self.seed(runner, 0)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Seeds the generators of the host and of CUDA anew."""
        self.seed(runner, batch_idx + 1)

    @staticmethod
    def seed(runner: Runner, iteration: int) -> None:
        """Seeds the generators for the part of the epoch after this iteration.

        Those of devices other than CUDA are seeded at the beginning of an epoch only.
        """
        entropy = [runner.seed, runner.epoch, runner.rank, iteration]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        if iteration == 0:
            torch.manual_seed(seed)  # of all kinds of devices: too slow for each iteration
        else:
            torch.default_generator.manual_seed(seed)
            if torch.cuda.is_initialized():
                torch.cuda.manual_seed_all(seed)
