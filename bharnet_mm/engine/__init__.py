"""Hooks, optimizer wrappers, and code that the command-line tools share."""

from ..lazy import attributes

PLACES = {
    'BFloat16OptimWrapper': '.bfloat16_optim_wrapper',
    'CUDAGraphHook': '.cuda_graph_hook',
    'CheckpointGuardHook': '.checkpoint_guard',
    'CheckpointHook': '.checkpoint_hook',
    'ConsoleHook': '.console',
    'ConsistencyHook': '.consistency',
    'EpochBasedTrainLoop': '.train_loop',
    'EpochSeedHook': '.epoch_seed',
    'NonFiniteGuardHook': '.non_finite_guard',
    'PlainFormHook': '.plain_form',
    'RuntimeInfoHook': '.runtime_info',
    'WarmUpLR': '.warm_up',
    'WarmedCosineLR': '.warm_up',
}
__getattr__, __dir__, __all__ = attributes(__name__, PLACES)
