"""Counts the kernels that a step would launch on a GPU, on a machine without one.

python tools/analysis/count_launches.py

Inside an custom operator, each Triton kernel and each operator of torch counts once; outside, each
operator of torch. Operators that only make a view or allocate are not counted. An operator of torch
may launch no kernel or several (a sort, a reduction in two steps), so the number is an estimate.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode

from ..io.arguments import integer
from ..ops import cuda
from ..ops.operator import register_kernel
from .contenders import contenders, make_batch

FREE = (
    *('view', 'transpose', 'permute', 'expand', 'unsqueeze', 'squeeze', 'slice', 'select', 'split'),
    *('detach', '.t.', 'alias', 'as_strided', 'unbind', 'chunk', 'size', 'stride', 'lift', 'empty'),
    *('promote_types', 'is_same_size', 'diagonal', 'unflatten', '_assert_async', 'bharnet'),
)


class Launches(TorchDispatchMode):
    """Counts operators of torch by name, and kernels of Triton under ``operator: kernel``."""

    def __init__(self, found: Counter) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if not any(word in str(op) for word in FREE):
            self.found[str(op)] += 1
        return op(*args, **(kwargs or {}))


def count(
    name: str,
    found: Counter,
    mode: str = 'train',
    dtype: torch.dtype | None = torch.bfloat16,
    on_launch: Callable | None = None,
    bucket_steps: int | None = None,
    compute: bool = True,
    clips: int = 2,
) -> None:
    """Counts one step of a contender, in the real mix, in ``found``.

    Args:
        name: Of the contender.
        found: Gets the numbers.
        mode: ``'train'`` (forward and backward pass) or ``'inference'``.
        dtype: Of autocast; None for float32.
        on_launch: Called with each Triton kernel, its arguments and its keyword arguments.
        bucket_steps: Of the model's preprocessor, see :class:`BodyHandPreprocessor`.
        compute: Whether the operators compute; otherwise their results are arbitrary.
        clips: Of the batch.
    """
    config, kind = contenders()[name]
    inputs, samples = make_batch(kind, clips, 'real', 64)
    model = MODELS.build(config).train(mode == 'train')
    if bucket_steps is not None and hasattr(model.data_preprocessor, 'bucket_steps'):
        model.data_preprocessor.bucket_steps = bucket_steps
        inputs = model.data_preprocessor(dict(inputs=inputs))['inputs']
    folding = mode == 'inference'

    def launched(*launch) -> None:
        if on_launch is not None and not folding:
            on_launch(*launch)

    _register(found, launched, compute)
    with torch.autocast('cpu', dtype or torch.bfloat16, enabled=dtype is not None):
        if mode == 'inference':
            with torch.no_grad():
                model(inputs, samples, mode='tensor')  # folds the parameters
                folding = False
                found.clear()
                with Launches(found):
                    model(inputs, samples, mode='tensor')
            return
        with Launches(found):
            losses = model(inputs, samples, mode='loss')
            total = sum(value for name, value in losses.items() if 'loss' in name)
    with Launches(found):
        total.backward()


def _register(found: Counter, on_launch: Callable, compute: bool) -> None:
    """Makes every operator count the launches of its CUDA kernel; results are the CPU's."""
    from triton.runtime.jit import JITFunction

    def launch(self, *args, **kwargs):
        on_launch(self, args, kwargs)
        found[f'triton: {self.__module__.split(".")[-1]}.{self.__name__}'] += 1

    JITFunction.run = launch
    for operator, default, module, function in cuda.KERNELS:
        register_kernel(operator, 'cpu', _counting(default, module, function, found, compute))


def _counting(
    default: Callable, module: str, function: str, found: Counter, compute: bool
) -> Callable:
    def kernel(*args):
        with Launches(found):
            result = getattr(cuda._module(module), function)(*args)
        return default(*args) if compute else result

    return kernel


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'contenders', nargs='*', default=['BHaRNet-P', 'BHaRNet-E', 'BHaRNet light']
    )
    parser.add_argument('--kernels', type=integer(0), default=12, help='how many to list')
    args = parser.parse_args(argv)
    os.environ['BHARNET_NATIVE'] = '0'
    init_default_scope('mmaction')
    for name in args.contenders:
        for mode in ('train', 'inference'):
            found: Counter = Counter()
            count(name, found, mode)
            ours = sum(n for key, n in found.items() if key.startswith('triton'))
            total = sum(found.values())
            print(f'{name}, {mode}: {total} launches, {ours} of them Triton kernels')
            for key, number in found.most_common(args.kernels):
                print(f'  {number:5} {key}')


if __name__ == '__main__':
    main()
