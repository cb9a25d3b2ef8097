"""Keeps the losses of a training without waiting for them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.hooks import RuntimeInfoHook as MMEngineRuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from .one_step_later import OneStepLater


@HOOKS.register_module()
class RuntimeInfoHook(OneStepLater, MMEngineRuntimeInfoHook):
    """MMEngine's hook of this name, changed so that the host does not wait for the losses of a step
    on a GPU.

    They come to the message hub one step later, all at once. Where a log is written or a checkpoint
    saved, they come in time, so logs and checkpoints are those of MMEngine. Another hook that reads
    ``train/loss`` from the message hub in each iteration finds the value of the step before;
    ``outputs`` has those of the step itself.
    """

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Keeps the values that the model logs."""
        outputs = outputs or {}
        later = {
            name: value.detach().float().reshape(())
            for name, value in outputs.items()
            if isinstance(value, Tensor) and value.device.type in self.devices
        }
        at_once = {name: value for name, value in outputs.items() if name not in later}
        super().after_train_iter(runner, batch_idx, data_batch, at_once)
        if later:
            values = torch.stack(list(later.values()))
            self.later(values, partial(self._keep, runner, list(later)))
            if self._is_read(runner, batch_idx):
                self.look()

    @staticmethod
    def _keep(runner: Runner, names: list[str], values: Tensor) -> None:
        for name, value in zip(names, values.tolist(), strict=True):
            runner.message_hub.update_scalar(f'train/{name}', value)

    def _is_read(self, runner: Runner, batch_idx: int) -> bool:
        """Whether a later hook of this iteration reads or saves what is kept."""
        for hook in runner.hooks:
            if isinstance(hook, LoggerHook) and hook.every_n_inner_iters(batch_idx, hook.interval):
                return True
            by_iteration = isinstance(hook, CheckpointHook) and not hook.by_epoch
            if by_iteration and hook.every_n_train_iters(runner, hook.interval):
                return True
        return self.end_of_epoch(runner.train_dataloader, batch_idx)
