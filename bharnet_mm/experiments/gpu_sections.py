"""The sections of the GPU check. Each measures one thing and returns data for JSON."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmaction.registry import MODELS
from torch import Tensor, nn

from ..engine.recordings import Recording
from ..io.process import processors
from ..models import use_plain_form
from ..models.compiled import compile_blocks
from .contenders import contenders, make_batch, to_device
from .gpu_results import UNENDED, Results, attempt, counted, failure, is_device_error

#: In the table, as on 2026-11-26; the most important ones first.
TABLE = (
    'BHaRNet-P',
    'STGCN++ unified',
    'BHaRNet light',
    'BHaRNet-M',
    'BHaRNet-E',
    'BHaRNet-P, plain',
    'DeGCN body',
    'DeGCN unified',
    'AAGCN unified',
)
VARIANTS = (
    'BHaRNet-P',
    'BHaRNet light',
    'BHaRNet-E',
    'BHaRNet-M',
    'BHaRNet-B',
    'DeGCN body',
    'DeGCN unified',
)


#: In the table of training also as CUDA graphs.
GRAPHED = ('BHaRNet-P', 'BHaRNet light', 'BHaRNet-M', 'BHaRNet-E')


@dataclass
class Sizes:
    """The amounts to measure.

    Attributes:
        device (str): ``'cuda'`` or ``'cpu'``.
        batch (int): Clips of a batch.
        frames (int): Frames of a clip.
        rounds (int): Timed steps of a contender.
        calls (int): Timed calls of one clip.
        clips (int): Clips of the generated store.
        epochs (int): Epochs of training with it; the first half is not counted.
        names (tuple[str, ...] | None): The only contenders; None for all.
        part (Path | None): File of the section's results so far.
    """

    device: str
    batch: int = 64
    frames: int = 64
    rounds: int = 10
    calls: int = 200
    clips: int = 4096
    epochs: int = 4
    names: tuple[str, ...] | None = None
    part: Path | None = None

    def results(self, kind: str = 'results') -> Results:
        """The section's results so far."""
        return Results(self.part, kind)

    def chosen(self, names: tuple[str, ...]) -> list[str]:
        """The names that are measured."""
        return [name for name in names if self.names is None or name in self.names]


def cores() -> int:
    """Processors that this process may use, at most 16."""
    return min(processors(), 16)


def build(name: str, device: str) -> tuple[nn.Module, str]:
    """A contender with seed 0, and its kind of input."""
    config, kind = contenders()[name]
    torch.manual_seed(0)
    model = MODELS.build(config)
    if name.endswith(', plain'):
        use_plain_form(model)
    return model.to(device), kind


def without_dropout(model: nn.Module) -> nn.Module:
    """The model, which drops nothing any more: a CPU and a GPU draw other numbers."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def synchronize(device: str) -> None:
    """Waits until the device has finished."""
    if device == 'cuda':
        torch.cuda.synchronize()


def loss_of(model: nn.Module, batch, dtype: str, device: str, cache: bool = True) -> Tensor:
    """The sum of a model's losses; ``cache`` is autocast's."""
    enabled = dtype == 'bf16'
    with torch.autocast(device, torch.bfloat16, enabled=enabled, cache_enabled=cache):
        losses = model(*batch, mode='loss')
    return sum(value for name, value in losses.items() if 'loss' in name)


def stepper(model: nn.Module, batch, mode: str, dtype: str, device: str) -> Callable[[], None]:
    """A training step without the optimizer, or an inference, as a function without arguments."""
    model.train(mode == 'train')

    def train() -> None:
        model.zero_grad(set_to_none=True)
        loss_of(model, batch, dtype, device).backward()

    def infer() -> None:
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=dtype == 'bf16'):
            model(*batch, mode='predict')

    return train if mode == 'train' else infer


def graphed_stepper(
    model: nn.Module, batch, mode: str, dtype: str, device: str
) -> Callable[[], None]:
    """:func:`stepper` of a training step as a CUDA graph: forward and backward pass."""
    inputs, samples = batch
    model.train().data_preprocessor.bucket_steps = 8
    given = model.data_preprocessor(dict(inputs=inputs))['inputs']
    tensors = {name: x for name, x in given.items() if isinstance(x, Tensor)}
    labels = torch.cat([sample.gt_label.reshape(-1) for sample in samples]).to(device)
    parameters = list(model.parameters())

    def run(values: dict[str, Tensor]) -> tuple:
        fresh = [type(s)().set_gt_label(y) for s, y in zip(samples, labels.split(1), strict=True)]
        batch = {name: values.get(name, x) for name, x in given.items()}, fresh
        loss = loss_of(model, batch, dtype, device, cache=False)
        return loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True)

    recording = Recording(run, tensors, list(model.buffers()), graph_pool(device))
    return partial(recording, tensors)


def graph_pool(device: str) -> Any:
    """Memory for recordings; None on a CPU."""
    return torch.cuda.graph_pool_handle() if device == 'cuda' else None


def spread(seconds: list[float], clips: int) -> dict:
    """Median and middle half, as clips per second, and the 99th percentile."""
    low, middle, high, p99 = np.percentile(seconds, [25, 50, 75, 99]).tolist()
    return dict(
        clips_per_s=clips / middle,
        middle_half=[clips / high, clips / low],
        ms=middle * 1e3,
        p99_ms=p99 * 1e3,
    )


def machine(sizes: Sizes) -> dict:
    """Versions, the GPU, and the rates it reaches."""
    facts = dict(
        torch=torch.__version__,
        python=platform.python_version(),
        numpy=np.__version__,
        device=sizes.device,
    )
    try:
        import triton

        facts['triton'] = triton.__version__
    except ImportError:
        facts['triton'] = None
    if sizes.device != 'cuda':
        return facts
    properties = torch.cuda.get_device_properties(0)
    facts |= dict(
        name=properties.name,
        capability=f'{properties.major}.{properties.minor}',
        processors=properties.multi_processor_count,
        memory_gb=properties.total_memory / 1e9,
        cuda=torch.version.cuda,
    )
    for dtype, key in ((torch.float32, 'fp32_tflops'), (torch.bfloat16, 'bf16_tflops')):
        x = torch.randn(8192, 8192, device='cuda', dtype=dtype)
        facts[key] = 2 * 8192**3 / min(timed(lambda x=x: x @ x, 5, 'cuda')) / 1e12
    x = torch.empty(2**30, device='cuda', dtype=torch.uint8)
    facts['copy_tb_per_s'] = 2 * x.numel() / min(timed(lambda: x.clone(), 5, 'cuda')) / 1e12
    return facts


def timed(function: Callable[[], object], calls: int, device: str) -> list[float]:
    """Seconds of each call; the first two are not counted."""
    seconds = []
    for i in range(calls + 2):
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        if i >= 2:
            seconds.append(time.perf_counter() - start)
    return seconds


def parity(sizes: Sizes) -> dict:
    """Loss, gradient and probabilities on the device against float32 on the CPU, relative."""
    results = sizes.results()
    for name in sizes.chosen(VARIANTS):
        model, kind = build(name, 'cpu')
        without_dropout(model)
        batch = make_batch(kind, min(4, sizes.batch), 'real', sizes.frames)
        expected = _outcome(model, batch, 'fp32', 'cpu')

        def compare(dtype: str, name=name, batch=batch, expected=expected) -> dict:
            other = without_dropout(build(name, sizes.device)[0])
            given = to_device(batch, sizes.device)
            return _difference(_outcome(other, given, dtype, sizes.device), expected)

        for dtype in ('fp32', 'bf16'):
            attempt(results, f'{name}, {dtype}', partial(compare, dtype))
    return counted(results)


def _outcome(model: nn.Module, batch, dtype: str, device: str) -> dict:
    model.train()
    loss = loss_of(model, batch, dtype, device)
    loss.backward()
    gradients = {
        name: p.grad.detach().double().cpu()
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    model.zero_grad(set_to_none=True)
    model.eval()
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=dtype == 'bf16'):
        samples = model(*batch, mode='predict')
    scores = torch.stack([sample.pred_score.float().cpu() for sample in samples])
    return dict(loss=float(loss), gradients=gradients, scores=scores)


def _difference(found: dict, expected: dict) -> dict:
    worst, name = 0.0, ''
    total, size = 0.0, 0.0
    for key, gradient in expected['gradients'].items():
        difference = float((found['gradients'][key] - gradient).norm())
        total, size = total + difference**2, size + float(gradient.norm()) ** 2
        relative = difference / max(float(gradient.norm()), 1e-6)
        worst, name = max((worst, name), (relative, key))
    return dict(
        loss=abs(found['loss'] - expected['loss']) / abs(expected['loss']),
        gradient=(total / max(size, 1e-30)) ** 0.5,
        worst_gradient=worst,
        worst_parameter=name,
        probability=float((found['scores'] - expected['scores']).abs().max()),
    )


def table(mode: str, mix: str, dtype: str) -> Callable[[Sizes], dict]:
    """A section: all contenders in turn, clips per second and memory of a step; those of
    :data:`GRAPHED` also as a CUDA graph.
    """

    def section(sizes: Sizes) -> dict:
        steps, rows = {}, sizes.results('rows')
        chosen = sizes.chosen(TABLE)
        if mode == 'train':
            chosen += [f'{name}, graph' for name in sizes.chosen(GRAPHED)]
        for name in chosen:
            if 'error' in rows.get(name, {}):  # it ended the process before this one
                continue
            rows[name] = dict(error=UNENDED)
            try:
                plain = name.removesuffix(', graph')
                model, kind = build(plain, sizes.device)
                batch = to_device(make_batch(kind, sizes.batch, mix, sizes.frames), sizes.device)
                make = stepper if plain == name else graphed_stepper
                step = make(model, batch, mode, dtype, sizes.device)
                start = time.perf_counter()
                step()
                synchronize(sizes.device)
                first = time.perf_counter() - start
                step()
                memory = memory_of(step, sizes.device)
                rows[name], steps[name] = dict(first_step_s=first, memory_gb=memory), step
            except Exception as error:
                rows[name] = failure(error)
                if is_device_error(error):
                    raise
        seconds = {name: [] for name in steps}
        for _ in range(sizes.rounds):
            for name, step in steps.items():
                synchronize(sizes.device)
                start = time.perf_counter()
                step()
                synchronize(sizes.device)
                seconds[name].append(time.perf_counter() - start)
        for name, values in seconds.items():
            rows[name] = rows[name] | spread(values, sizes.batch)
        return dict(rows=rows, failed=sum('error' in row for row in rows.values()))

    return section


def memory_of(step: Callable[[], None], device: str) -> float | None:
    """GB that a step allocates at most beyond what is allocated before; None on a CPU."""
    if device != 'cuda':
        return None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e9


def profile(sizes: Sizes) -> dict:
    """Kernels that a training step launches in bf16, and the GPU's share of the time."""
    results = sizes.results()
    for name in sizes.chosen(('BHaRNet-P', 'BHaRNet light', 'STGCN++ unified')):
        attempt(results, name, partial(_profiled, name, sizes))
    return counted(results)


def _profiled(name: str, sizes: Sizes) -> dict:
    from torch.autograd import DeviceType

    activities = [torch.profiler.ProfilerActivity.CPU]
    if sizes.device == 'cuda':
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    model, kind = build(name, sizes.device)
    batch = to_device(make_batch(kind, sizes.batch, 'real', sizes.frames), sizes.device)
    step = stepper(model, batch, 'train', 'bf16', sizes.device)
    seconds = timed(step, 3, sizes.device)
    with torch.profiler.profile(activities=activities) as profiler:
        step()
        synchronize(sizes.device)
    kernels = [e for e in profiler.events() if e.device_type == DeviceType.CUDA]
    times: Counter = Counter()
    launches: Counter = Counter()
    for kernel in kernels:
        times[kernel.name[:80]] += kernel.time_range.elapsed_us()
        launches[kernel.name[:80]] += 1
    busy = sum(times.values()) / 1e6
    return dict(
        launches=len(kernels),
        busy_ms=busy * 1e3,
        step_ms=min(seconds) * 1e3,
        busy_share=busy / min(seconds),
        kernels=[
            dict(name=name, launches=launches[name], ms=us / 1e3)
            for name, us in times.most_common(60)
        ],
    )


def compiled(sizes: Sizes) -> dict:
    """``torch.compile`` of P's blocks one by one: seconds of compiling, and clips per second."""
    results = sizes.results()
    for name in sizes.chosen(('BHaRNet light', 'BHaRNet-P')):
        attempt(results, name, partial(_compiled, name, sizes))
    return counted(results)


def _compiled(name: str, sizes: Sizes) -> dict:
    model, kind = build(name, sizes.device)
    batch = to_device(make_batch(kind, sizes.batch, 'real', sizes.frames), sizes.device)
    compile_blocks(model)
    step = stepper(model, batch, 'train', 'bf16', sizes.device)
    start = time.perf_counter()
    step()
    synchronize(sizes.device)
    first = time.perf_counter() - start
    times = spread(timed(step, sizes.rounds, sizes.device), sizes.batch)
    return dict(compile_s=first, **times)
