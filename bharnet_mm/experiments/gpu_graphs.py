"""Sections of the GPU check with CUDA graphs: training steps, inference of batches and clips."""

from __future__ import annotations

import time
from functools import partial

import torch

from ..engine.cuda_graphs import GraphedForward, GraphedStep
from .contenders import contenders, make_batch, to_device
from .gpu_results import attempt, counted
from .gpu_sections import (
    Sizes,
    build,
    graphed_stepper,
    memory_of,
    spread,
    stepper,
    timed,
    without_dropout,
)


def graphs(sizes: Sizes) -> dict:
    """Training steps with the optimizer, as a CUDA graph and not: speed, memory and losses.

    Also how many gradients of a replayed step differ from one replay to the next: none, if no
    kernel reads what another one is still writing.
    """
    results = sizes.results()
    for name in sizes.chosen(('BHaRNet-P', 'BHaRNet light', 'BHaRNet-E', 'BHaRNet-M')):
        for how in ('eager', 'graph'):
            attempt(results, f'{name}, {how}', partial(_whole_step, name, how == 'graph', sizes))
        eager, graph = (results[f'{name}, {how}'] for how in ('eager', 'graph'))
        if 'losses' in eager and 'losses' in graph:  # a graph that computes something else shows
            pairs = zip(eager['losses'], graph['losses'], strict=True)
            difference = max(abs(a - b) / abs(a) for a, b in pairs)
            results[f'{name}, graph'] = graph | dict(loss_difference=difference)
        attempt(results, f'{name}, replayed', partial(_repeated, name, sizes))
    return counted(results)


def _whole_step(name: str, graphed: bool, sizes: Sizes) -> dict:
    from mmengine.optim import build_optim_wrapper

    from ..engine import BFloat16OptimWrapper

    model, kind = build(name, sizes.device)
    inputs, samples = make_batch(kind, sizes.batch, 'real', sizes.frames)
    if sizes.device == 'cuda':  # as the loader gives them
        inputs = {name: x.pin_memory() for name, x in inputs.items()}
    data = dict(inputs=inputs, data_samples=samples)
    model.train()
    model.data_preprocessor.bucket_steps = 8
    wrapper = build_optim_wrapper(
        model,
        dict(
            type=BFloat16OptimWrapper, optimizer=dict(type='SGD', lr=0.01, momentum=0.9, fused=True)
        ),
    )
    wrapper.initialize_count_status(model, 0, 10**6)
    step = GraphedStep(model) if graphed else model.train_step
    start = time.perf_counter()
    losses = [float(step(data, wrapper)['loss'])]
    first = time.perf_counter() - start
    losses += [float(step(data, wrapper)['loss']) for _ in range(4)]
    call = partial(step, data, wrapper)
    seconds = timed(call, sizes.rounds, sizes.device)
    memory = memory_of(call, sizes.device)
    times = spread(seconds, sizes.batch)
    return dict(first_step_s=first, losses=losses, memory_gb=memory, **times)


def _repeated(name: str, sizes: Sizes, replays: int = 4) -> dict:
    model, kind = build(name, sizes.device)
    batch = to_device(make_batch(kind, sizes.batch, 'real', sizes.frames), sizes.device)
    step = graphed_stepper(without_dropout(model), batch, 'train', 'bf16', sizes.device)
    # Of a recording the results are in the same memory each time.
    found = [[g.clone() for g in step()[1] if g is not None] for _ in range(replays)]
    differ = {
        i
        for other in found[1:]
        for i, (a, b) in enumerate(zip(found[0], other, strict=True))
        if not torch.equal(a, b)
    }
    return dict(gradients=len(found[0]), differ=len(differ))


def infer_graphs(sizes: Sizes) -> dict:
    """Inference of a batch as a CUDA graph, in bf16 and the real mix: logits, without data
    samples.
    """
    results = sizes.results()
    for name in sizes.chosen(('BHaRNet-P', 'BHaRNet light', 'BHaRNet-E', 'BHaRNet-M')):
        attempt(results, name, partial(_graphed_batch, name, sizes))
    return counted(results)


def _graphed_batch(name: str, sizes: Sizes) -> dict:
    model, kind = build(name, sizes.device)
    model.eval().data_preprocessor.bucket_steps = 8
    inputs, _ = make_batch(kind, sizes.batch, 'real', sizes.frames)
    forward = GraphedForward(model, dtype=torch.bfloat16)
    inputs = model.data_preprocessor(dict(inputs=inputs))['inputs']
    return spread(timed(partial(forward, inputs), sizes.rounds, sizes.device), sizes.batch)


def latency(sizes: Sizes) -> dict:
    """Milliseconds of one clip (one person, two hands), with and without a graph."""
    results = sizes.results()
    for name in sizes.chosen(('BHaRNet-P', 'BHaRNet light', 'STGCN++ unified')):
        for dtype in ('fp32', 'bf16'):
            key = f'{name}, {dtype}'
            attempt(results, key, partial(_one_clip, name, dtype, False, sizes))
            if contenders()[name][1] == 'both':
                attempt(results, f'{key}, graph', partial(_one_clip, name, dtype, True, sizes))
    return counted(results)


def _one_clip(name: str, dtype: str, graphed: bool, sizes: Sizes) -> dict:
    model, kind = build(name, sizes.device)
    batch = to_device(make_batch(kind, 1, 'single', sizes.frames), sizes.device)
    model.eval()
    step = stepper(model, batch, 'inference', dtype, sizes.device)
    if graphed:
        forward = GraphedForward(model, dtype=torch.bfloat16 if dtype == 'bf16' else None)
        step = partial(forward, batch[0] | dict(body_rows=1, hand_rows=2))
    return spread(timed(step, sizes.calls, sizes.device), 1)
