"""Stops at the first loss, weight or prediction that is not finite."""

from functools import partial
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.dist import get_rank, get_world_size
from mmengine.runner import Runner
from torch import Tensor

from ..datasets.clip import ID_KEYS
from ..errors import BHaRNetError
from .finite import all_finite, can_be_checked, not_finite
from .one_step_later import OneStepLater

_FIX = (
    'look for non-finite or huge coordinates in these clips; if they are clean, lower the learning '
    'rate, clip the gradients (optim_wrapper.clip_grad) or use bfloat16 instead of float16. '
    'Weights '
    'of this run are lost back to the last checkpoint'
)


@HOOKS.register_module()
class NonFiniteGuardHook(OneStepLater):
    """Stops at a NaN or infinite loss, weight or prediction and names the clips of that batch.

    Without it such a value would enter the weights and the batch norms' statistics, and all later
    results would be NaN, also on clean data. In each iteration it checks the losses, and after the
    update the weights and statistics. A gradient that is not finite makes the weights not finite on
    all processes, unless a gradient scaler skips it; the process whose loss was not finite says so,
    with its rank and its clips. On a GPU the host looks at the result when the next step has been
    launched, and before a checkpoint is saved, so the files on disk remain valid.

    Raises:
        BHaRNetError: At the first iteration with such a value.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self) -> None:
        super().__init__()
        self._weights: list[tuple[str, Tensor]] = []

    def before_train(self, runner: Runner) -> None:
        """Lists the tensors that are checked after each iteration."""
        named = [*runner.model.named_parameters(), *runner.model.named_buffers()]
        self._weights = [(name, value) for name, value in named if can_be_checked(value)]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Checks every value the model reports as a loss, and the updated weights."""
        where = f'epoch {runner.epoch + 1}, iteration {batch_idx + 1}'
        outputs = outputs or {}
        losses = {name: torch.as_tensor(v) for name, v in outputs.items() if 'loss' in name}
        norm = outputs.get('grad_norm')
        # of all weights and of the losses, which may be on another device or no tensors
        finite = all_finite([value for _, value in self._weights])
        for value in losses.values():
            finite = finite & torch.isfinite(value).all().to(finite.device, non_blocking=True)
        self.later(finite, partial(self._look, where, data_batch, losses, norm))

    def _look(
        self, where: str, data_batch: Any, losses: dict[str, Tensor], norm: Any, finite: Tensor
    ) -> None:
        """Says what is not finite."""
        if finite:
            return
        bad = [
            f'{name} = {float(value)}'
            for name, value in losses.items()
            if not torch.isfinite(value).all()
        ]
        if bad:
            self._stop(where, data_batch, f'a loss that is not finite ({", ".join(bad)})')
        bad = not_finite(self._weights)
        if bad:
            names = ', '.join(bad[:3]) + (f' and {len(bad) - 3} more' if len(bad) > 3 else '')
            found = f'updated weights or statistics that are not finite ({names})'
            found += '' if norm is None else f', gradient norm {float(norm):g}'
            if get_world_size() > 1:
                found += '; the losses of this process are finite, see what the others say'
            self._stop(where, data_batch, found)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Checks the predictions."""
        self._check_predictions(batch_idx, data_batch, outputs)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Checks the predictions."""
        self._check_predictions(batch_idx, data_batch, outputs)

    def _check_predictions(self, batch_idx: int, data_batch: Any, outputs: Any) -> None:
        samples = [sample for sample in outputs or () if hasattr(sample, 'all_items')]
        bad = [
            sample
            for sample in samples
            if not_finite(
                (name, value)
                for name, value in sample.all_items()
                if name.startswith('pred_') or name.endswith('_logits')
            )
        ]
        if bad:
            where = f'evaluation, batch {batch_idx + 1}'
            self._stop(where, {'data_samples': bad}, 'predictions that are not finite')

    def _stop(self, where: str, data_batch: Any, found: str) -> None:
        if get_world_size() > 1:
            where = f'process {get_rank()} of {get_world_size()} (counted from 0), {where}'
        raise BHaRNetError(
            f'{where}, clips {self._clips(data_batch)}', found, 'finite values', _FIX
        )

    def _clips(self, data_batch: Any) -> str:
        samples = data_batch.get('data_samples', ()) if isinstance(data_batch, dict) else ()
        names = []
        for sample in samples:
            values = (sample.get(key) for key in ID_KEYS)
            names.append(next((str(value) for value in values if value is not None), '?'))
        if all(name == '?' for name in names):
            return 'unknown (list clip_id in the meta_keys of the packing transform)'
        return ', '.join(names)
