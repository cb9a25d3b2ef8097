"""Hooks and optimizer wrappers, and what the command-line tools share."""

from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .checkpoint_guard import CheckpointGuardHook
from .epoch_seed import EpochSeedHook
from .non_finite_guard import NonFiniteGuardHook
from .plain_form import PlainFormHook

__all__ = [
    'BFloat16OptimWrapper',
    'CheckpointGuardHook',
    'EpochSeedHook',
    'NonFiniteGuardHook',
    'PlainFormHook',
]
