"""Stop a training run at the first loss that is not a number."""

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..errors import BHaRNetError


@HOOKS.register_module()
class NonFiniteGuardHook(Hook):
    """Stops training at a NaN or infinite loss and names the clips of that batch.

    Otherwise such a loss ends up in the weights and in the batch norms' statistics, and everything
    after it, evaluation on clean data included, is NaN. Runs before the checkpoint hook, so what is
    on disk stays good.

    Args:
        id_keys: Where a data sample's metainfo may hold the clip's name, best first.

    Raises:
        BHaRNetError: At the first iteration with a non-finite loss, on the process that saw it.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(
        self, id_keys: Sequence[str] = ('clip_id', 'frame_dir', 'filename', 'video_id')
    ) -> None:
        self.id_keys = tuple(id_keys)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Checks every value the model reports as a loss."""
        bad = [
            f'{name} = {float(value)}'
            for name, value in (outputs or {}).items()
            if 'loss' in name and not torch.isfinite(torch.as_tensor(value)).all()
        ]
        if bad:
            raise BHaRNetError(
                f'epoch {runner.epoch + 1}, iteration {batch_idx + 1}, '
                f'clips {self._clips(data_batch)}',
                f'a loss that is not finite ({", ".join(bad)})',
                'finite losses',
                'look for non-finite or huge coordinates in these clips; if they are clean, lower '
                'the learning rate, clip the gradients (optim_wrapper.clip_grad) or use bfloat16 '
                'instead of float16. Weights of this run are lost back to the last checkpoint',
            )

    def _clips(self, data_batch: Any) -> str:
        samples = data_batch.get('data_samples', ()) if isinstance(data_batch, dict) else ()
        names = []
        for sample in samples:
            values = (sample.get(key) for key in self.id_keys)
            names.append(next((str(value) for value in values if value is not None), '?'))
        if all(name == '?' for name in names):
            return 'unknown (list clip_id in the meta_keys of the packing transform)'
        return ', '.join(names)
