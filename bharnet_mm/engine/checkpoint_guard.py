"""Refuses checkpoints of other models."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ..errors import BHaRNetError, ConfigError


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Stops when the checkpoint that is loaded is not of this model.

    MMEngine loads the parameters that fit, logs the others and continues. So a checkpoint of
    another model, or for other joints or classes, would give a random network without an error,
    and one of P would be tested as B, without its attention.

    In a test and with ``--resume`` the checkpoint must have the model's parameters and no others.

    Args:
        min_matched: For the initial weights of a training (``load_from``): least share of the
            model's parameter tensors that must be in the checkpoint under the same name and with
            the same shape. Defaults to 0.5.

    Raises:
        BHaRNetError: The checkpoint has others. The message has counts and examples.
    """

    # after hooks that change the checkpoint, such as the one for averaged weights
    priority = 'LOWEST'

    def __init__(self, min_matched: float = 0.5) -> None:
        if not 0 <= min_matched <= 1:
            raise ConfigError(
                'CheckpointGuardHook', f'min_matched={min_matched}', 'a share from 0 to 1'
            )
        self.min_matched = min_matched

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compares names and shapes before the runner copies anything into the model."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        wanted = {name: tuple(value.shape) for name, value in model.named_parameters()}
        found = _shapes(checkpoint)
        missing = [name for name in wanted if name not in found]
        reshaped = [
            f'{name}: {found[name]} for {wanted[name]}'
            for name in wanted
            if name in found and found[name] != wanted[name]
        ]
        extra = [name for name in found if name not in model.state_dict()]
        matched = len(wanted) - len(missing) - len(reshaped)
        begins = not isinstance(runner._train_loop, (dict, type(None))) and not runner._resume
        if matched >= self.min_matched * len(wanted) if begins else not missing + reshaped + extra:
            return
        raise BHaRNetError(
            'checkpoint',
            f'{matched} of the {len(wanted)} parameters of {type(model).__name__}; '
            f'{len(missing)} missing{_examples(missing)}; '
            f'{len(reshaped)} of another shape{_examples(reshaped)}; '
            f'{len(extra)} that the model does not have{_examples(extra)}',
            f'at least {self.min_matched:.0%} of them, by name and shape'
            if begins
            else 'all of them, by name and shape, and no others',
            'use a checkpoint trained with this config (a copy of its config lies in its work '
            'dir), or rename its keys if it comes from elsewhere',
        )


def _shapes(checkpoint: Any) -> dict[str, tuple[int, ...]]:
    """Name → shape of the tensors in a checkpoint, named as the runner will look for them."""
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else {}
    return {
        re.sub(r'^module\.', '', name): tuple(value.shape)
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def _examples(names: Sequence[str], at_most: int = 3) -> str:
    if not names:
        return ''
    more = ', ...' if len(names) > at_most else ''
    return f' ({", ".join(names[:at_most])}{more})'
