"""Training by epochs that continues in the middle of one."""

from __future__ import annotations

from mmaction.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop as MMEngineTrainLoop

from ..errors import CheckpointError
from .epoch_seed import EpochSeedHook


@LOOPS.register_module()
class EpochBasedTrainLoop(MMEngineTrainLoop):
    """MMEngine's loop of this name, changed to continue an epoch at the iteration of the
    checkpoint.

    MMEngine would begin that epoch again and so train longer than the schedule. This loop draws the
    first batches and skips them, so the other batches are those of the uninterrupted run, with
    ``EpochSeedHook`` also in their augmentations. Arguments are MMEngine's.

    Raises:
        CheckpointError: If the numbers of iterations and epochs do not agree, for example because
            of another batch size.
    """

    def run_epoch(self) -> None:
        """Runs one epoch, or the rest of it."""
        batches = len(self.dataloader)
        done = self._iter - self._epoch * batches
        if not 0 <= done <= batches:  # equal to all if it was saved at the last iteration
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
