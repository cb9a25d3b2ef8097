"""Training by epochs that continues in the middle of one."""

from __future__ import annotations

from mmaction.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop as MMEngineTrainLoop

from ..errors import CheckpointError
from .epoch_seed import EpochSeedHook


@LOOPS.register_module()
class EpochBasedTrainLoop(MMEngineTrainLoop):
    """MMEngine's loop of this name, which continues an epoch where its checkpoint was saved.

    MMEngine begins that epoch again, and ends beyond the schedule. Here its first batches are drawn
    and left out, so that the rest are those that the unbroken run saw, with ``EpochSeedHook`` drawn
    alike. Arguments are MMEngine's.

    Raises:
        CheckpointError: If the iterations done do not fit the epochs done, as with other batches.
    """

    def run_epoch(self) -> None:
        """Runs one epoch, or what is left of it."""
        batches = len(self.dataloader)
        done = self._iter - self._epoch * batches
        if not 0 <= done <= batches:  # all: saved by its last iteration
            raise CheckpointError(
                'the checkpoint to resume',
                f'{self._epoch} epochs and {self._iter} iterations',
                f'epochs of {batches} iterations, as this run has',
                'resume with the same batch size, clips and number of processes; or use it as '
                'load_from to begin a new schedule with its weights',
            )
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        stream = iter(self.dataloader)
        for _ in range(done):
            next(stream)
        for hook in self.runner.hooks if done else ():
            if isinstance(hook, EpochSeedHook):
                hook.seed(self.runner, done)
        for number, batch in enumerate(stream, done):
            self.run_iter(number, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
