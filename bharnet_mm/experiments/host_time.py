"""Time that the host needs for a step on a GPU, measured on a machine without one.

python tools/analysis/host_time.py BHaRNet-P

A step takes at least as long as the host needs to launch its kernels, unless they are replayed as a
CUDA graph. Here the code for CUDA runs on a CPU with one clip of eight frames, and Triton launches
nothing: Python, the dispatcher, autograd and Triton's look at the arguments remain. The driver's
share of a launch (a few microseconds) is missing, and torch's operators compute their small results
(in M also the network of the images, so its number is of little use).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

from ..io.arguments import integer
from ..ops import cuda
from ..ops.operator import register_kernel
from .contenders import contenders, make_batch


class _Driver:
    """The driver of a GPU that is not there."""

    def get_current_device(self) -> int:
        """Its number."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """The default stream."""
        return 0

    def get_current_target(self):
        """An H100."""
        from triton.backends.compiler import GPUTarget

        return GPUTarget('cuda', 90, 32)


class _Kernel:
    """A compiled kernel that does nothing."""

    function = packed_metadata = None

    def launch_metadata(self, *args) -> None:
        """None."""

    def run(self, *args) -> None:
        """Launches nothing."""


def launch_nothing() -> None:
    """Makes every operator run its CUDA kernel's code on CPU tensors, whose results are not
    computed. Not to be undone in this process.
    """
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    def compile_nothing(self, key, signature, device, *rest):
        return self.device_caches[device][0].setdefault(key, _Kernel())

    driver.set_active(_Driver())
    JITFunction._do_compile = compile_nothing
    for operator, default, module, function in cuda.KERNELS:
        register_kernel(operator, 'cpu', cuda._kernel(default, module, function))


def stepper(name: str, mode: str) -> Callable[[], None]:
    """A training step (forward and backward) or an inference of a contender in bf16."""
    config, kind = contenders()[name]
    inputs, samples = make_batch(kind, 1, 'real', 8)
    model = MODELS.build(config).train(mode == 'train')
    parameters = list(model.parameters())

    def step() -> None:
        with (
            torch.autocast('cpu', torch.bfloat16),
            torch.set_grad_enabled(mode == 'train'),
        ):
            if mode == 'inference':
                model(inputs, samples, mode='tensor')
                return
            losses = model(inputs, samples, mode='loss')
            total = sum(value for key, value in losses.items() if 'loss' in key)
        for parameter in parameters:
            parameter.grad = None
        total.backward()

    return step


def milliseconds(step: Callable[[], None], calls: int) -> list[float]:
    """CPU time of each call, after three that are not counted."""
    times = []
    for i in range(calls + 3):
        start = time.process_time()
        step()
        if i >= 3:
            times.append((time.process_time() - start) * 1e3)
    return times


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'contenders', nargs='*', default=['BHaRNet-P', 'BHaRNet light', 'BHaRNet-E']
    )
    parser.add_argument('--calls', type=integer(1), default=20)
    args = parser.parse_args(argv)
    os.environ['BHARNET_NATIVE'] = '0'
    os.environ.pop('TRITON_INTERPRET', None)  # which would compute
    torch.set_num_threads(1)
    init_default_scope('mmaction')
    launch_nothing()
    for name in args.contenders:
        for mode in ('train', 'inference'):
            least, median = np.percentile(milliseconds(stepper(name, mode), args.calls), [0, 50])
            print(f'{name}, {mode}: {median:.1f} ms of the host, at least {least:.1f}')


if __name__ == '__main__':
    main()
