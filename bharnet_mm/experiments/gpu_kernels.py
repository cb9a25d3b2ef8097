"""The first section of the GPU check: compiles all Triton kernels, side by side on all cores.

A training compiles its kernels one after the other when it first launches them, which takes a
minute or two and would take most of the check's time.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor

from ..io.process import die_with, worker_pool
from .gpu_sections import Sizes, cores

#: Contender, type, and whether its instances are counted on the host; the most important first.
WANTED = tuple(
    (name, dtype, counted)
    for dtype, counted in (('bf16', True), ('bf16', False), ('fp32', False), ('fp32', True))
    for name in ('BHaRNet-P', 'BHaRNet light', 'BHaRNet-M', 'BHaRNet-E', 'DeGCN unified')
)
#: Seconds of compiling after which the other sections begin; they compile what is missing.
LIMIT = 70


class Launch(NamedTuple):
    """A kernel and the arguments for which it is compiled; a tensor is its type."""

    module: str
    name: str
    args: tuple
    options: tuple[tuple[str, object], ...]


def kernels(sizes: Sizes) -> dict:
    """Compiles the kernels of all contenders; their number, the seconds, and what failed."""
    start = time.monotonic()
    try:
        import triton  # noqa: F401
    except ImportError:
        return dict(variants=0, compiled=0, failed=0, triton='not installed')
    wanted = [case for case in WANTED if sizes.names is None or case[0] in sizes.names]
    processes = cores()
    context = multiprocessing.get_context('spawn')
    if sizes.device == 'cpu':  # some of them, for an H100
        wanted, processes = wanted[:1], 1
    launches: dict[tuple, Launch] = {}
    errors: list[str] = []
    with worker_pool(processes, context) as pool:
        for case in [pool.submit(collect, *case) for case in wanted]:
            if case.exception() is None:
                launches = case.result() | launches
            else:
                errors.append(_text(case.exception()))
    collected = time.monotonic() - start
    todo = list(launches.values())[: 2 if sizes.device == 'cpu' else None]
    pool = ProcessPoolExecutor(processes, context, _prepare, (sizes.device,))
    waiting = {pool.submit(compile_launch, launch): launch for launch in todo}
    while waiting and time.monotonic() - start - collected < LIMIT:
        done, _ = wait(waiting, 1, FIRST_COMPLETED)
        for future in done:
            launch = waiting.pop(future)
            if future.exception() is not None:
                errors.append(f'{launch.name}: {_text(future.exception())}')
    pool.shutdown(wait=False, cancel_futures=True)
    return dict(
        variants=len(todo),
        compiled=len(todo) - len(waiting) - len(errors),
        failed=len(errors),
        errors=errors[:20],
        collected_s=collected,
        compiled_s=time.monotonic() - start - collected,
    )


def collect(name: str, dtype: str, counted: bool) -> dict[tuple, Launch]:
    """The launches of a contender's training step and inference, each once, by what they are
    compiled for. To be called in a process of its own, whose kernels launch nothing afterwards.
    """
    os.environ['BHARNET_NATIVE'] = '0'
    torch.set_num_threads(1)  # all processors have a process
    from mmengine.registry import init_default_scope

    from .kernels import DTYPES, Found
    from .launches import count

    init_default_scope('mmaction')
    found, launches = Found(), {}

    def add(kernel, args: Sequence, options: dict) -> None:
        key = found.add(kernel, args, options)
        types = tuple(a.dtype if isinstance(a, Tensor) else a for a in args)
        kept = tuple((k, v) for k, v in options.items() if k not in ('grid', 'warmup'))
        launches.setdefault(key, Launch(kernel.__module__, kernel.__name__, types, kept))

    for mode in ('train', 'inference'):
        count(name, Counter(), mode, DTYPES[dtype], add, 8 if counted else None, compute=False)
    return launches


def _prepare(device: str) -> None:
    die_with()
    torch.set_num_threads(1)
    if device == 'cpu':
        from triton.runtime import driver

        from .host_time import _Driver

        driver.set_active(_Driver())


def compile_launch(launch: Launch) -> None:
    """Compiles a kernel into Triton's cache, as its launch would."""
    kernel = getattr(import_module(launch.module), launch.name)
    kernel.warmup(*launch.args, grid=(1,), **dict(launch.options))


def _text(error: BaseException) -> str:
    return f'{type(error).__name__}: {error}'[:300]
