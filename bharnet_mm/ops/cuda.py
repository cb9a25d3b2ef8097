"""Registers the Triton kernels for CUDA; Triton is imported at the first call of a kernel."""

from __future__ import annotations

import os
import subprocess
import traceback
import warnings
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from . import graph, inference_block, norm_act, pointwise, refined_graph, shared, temporal
from .operator import register_kernel

#: Operator, its kernel by torch's operators, and module and function of its Triton kernel.
KERNELS = (
    (pointwise.OPERATOR, pointwise._pointwise, 'pointwise', 'product'),
    (pointwise.BACKWARD, pointwise._pointwise_backward, 'pointwise', 'backward'),
    (graph.OPERATOR, graph._graph_conv, 'graph', 'forward'),
    (graph.BACKWARD, graph._graph_conv_backward, 'graph', 'backward'),
    (refined_graph.OPERATOR, refined_graph._refined_graph_conv, 'refined_graph', 'forward'),
    (
        refined_graph.BACKWARD,
        refined_graph._refined_graph_conv_backward,
        'refined_graph',
        'backward',
    ),
    (norm_act.OPERATOR, norm_act._norm_act, 'norm_act', 'forward'),
    (norm_act.BACKWARD, norm_act._norm_act_backward, 'norm_act', 'backward'),
    (shared.OPERATOR, shared._sum_gradients, 'shared', 'add'),
    (temporal.OPERATOR, temporal._temporal_branches, 'temporal', 'forward'),
    (temporal.BACKWARD, temporal._temporal_branches_backward, 'temporal', 'backward'),
    (inference_block.OPERATOR, inference_block._inference_block, 'inference_block', 'forward'),
)


def enabled() -> bool:
    """Whether the kernels are enabled: False with ``BHARNET_TRITON=0`` in the environment."""
    return os.environ.get('BHARNET_TRITON', '1') != '0'


@cache
def _module(name: str) -> ModuleType | None:
    """A module of kernels; None, with one warning, if Triton is not installed."""
    try:
        return import_module(f'.triton.{name}', __package__)
    except ImportError as error:
        if error.name is None or not error.name.startswith('triton'):
            raise
        _warn()
        return None


@cache
def _warn() -> None:
    warnings.warn(
        'Triton is not installed: torch computes the operators on the GPU, several times slower. '
        'Fix: pip install triton',
        stacklevel=2,
    )


def register() -> None:
    """Gives every operator its kernel for CUDA."""
    for operator, default, module, function in KERNELS:
        register_kernel(operator, 'cuda', _kernel(default, module, function))


def _kernel(default, module: str, function: str):
    run = None  # set by the first call, which imports Triton
    failed: set[tuple] = set()

    def kernel(*args):
        nonlocal run
        if run is None:
            kernels = _module(module) if enabled() else None
            run = default if kernels is None else getattr(kernels, function)
        if run is default or (failed and _variant(args) in failed):
            return default(*args)
        try:
            if is_current(args[0]):
                return run(*args)
            with torch.cuda.device(args[0].device):  # Triton launches on the current device
                return run(*args)
        except Exception as error:
            if not _is_of_the_compiler(error):
                raise
            failed.add(_variant(args))
            x = args[0]
            warnings.warn(
                f'The Triton kernel {module}.{function} does not compile here for features '
                f'{tuple(x.shape)} in {x.dtype}, so torch computes it, several times slower '
                f'({type(error).__name__}: {str(error)[:300]}). Fix: {_fix(error)}',
                stacklevel=2,
            )
            return default(*args)

    return kernel


def _variant(args: tuple) -> tuple:
    """What a kernel is compiled for: types and shapes, without the number of instances."""
    x, *others = args
    shapes = [(t.dtype, t.shape[1:]) for t in others if isinstance(t, Tensor)]
    return x.dtype, x.shape[1:], *shapes


def is_current(x: Tensor) -> bool:
    """Whether a tensor is on the current GPU, or on no GPU."""
    index = x.get_device()  # below 0 on a CPU
    return index < 0 or index == torch.cuda.current_device()


#: What the driver says of a kernel that it does not take; the device can be used as before.
NOT_TAKEN = (
    *('invalid argument', 'image is invalid', 'no kernel image', 'unsupported toolchain'),
    *('invalid device function', 'too many resources'),
)


def _is_of_the_compiler(error: BaseException) -> bool:
    """Whether Triton raised it before the kernel ran: while it compiled or loaded it, or as a
    program needs more registers or shared memory than the card has. Other versions of Triton may
    raise other errors, so all that come from its code count, but for those of the device.
    """
    text = f'{type(error).__name__} {error}'
    if isinstance(error, torch.OutOfMemoryError) or 'CUDA error' in text:
        return False
    if 'Triton Error' in text:
        return any(words in text for words in NOT_TAKEN)
    # A failing pass raises a plain RuntimeError; the assembler's error has moved between versions.
    words = ('PassManager::run failed', 'ptxas', 'PTXAS')
    if any(w in text for w in words) or _lacks_c(error):
        return True
    frames = traceback.walk_tb(error.__traceback__)
    modules = [
        type(error).__module__,
        *(frame.f_globals.get('__name__', '') for frame, _ in frames),
    ]
    return any(name.split('.')[0] == 'triton' for name in modules)


def _lacks_c(error: BaseException) -> bool:
    """Whether Triton could not build its launcher, for which it calls a C compiler."""
    if isinstance(error, subprocess.CalledProcessError):
        return True
    return 'Failed to find C compiler' in str(error)


def _fix(error: BaseException) -> str:
    if _lacks_c(error):
        return 'install gcc and the headers of Python (python3-dev), or set CC'
    return 'report it, with the output of tools/analysis/compile_kernels.py'
