"""Speed and memory of the networks: ours, their plain form, and MMAction2's own.

python tools/analysis/benchmark.py --out docs/benchmark

`--release PATH` adds DeGCN's public release from a checkout, as the contender `DeGCN release`.

Each contender runs in a process of its own, which gives its peak memory. One process works at a
time, and they take turns, so other load on the machine affects all equally. Medians and the range
of the middle half are reported, and the least CPU time of a round, which depends less on other
programs. Compare ratios of one run, not rates of two.

`NAME, plain` is the same network in the form of published code: 1x1 convolutions by conv2d,
gathered samples, a separate batch norm, and all slots of persons and hands computed, present or
not. `NAME, torch` is ours without the kernels in C++ (bharnet_mm/ops/native), which the plain form
never uses.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..io.arguments import integer
from ..io.atomic import write_json, write_text
from ..io.outputs import output_files
from ..io.process import die_with, unheard
from ..models import use_plain_form
from ..models.compiled import compile_blocks
from .contenders import FRAMES, contenders, make_batch, to_device
from .cost import count_macs
from .release import NAME as RELEASE
from .release import Release


def memory_now() -> int:
    """Bytes in memory. Also resets the peak of the process (Linux)."""
    Path('/proc/self/clear_refs').write_text('5')
    return int(Path('/proc/self/status').read_text().split('VmRSS:')[1].split()[0]) * 1024


def work(connection, name: str, options: argparse.Namespace) -> None:
    """A contender's process: builds it, then runs one round for each message."""
    die_with()
    import mmaction.models  # noqa: F401
    import torch
    from mmaction.registry import MODELS
    from mmengine.registry import init_default_scope

    init_default_scope('mmaction')
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if name.endswith((', plain', ', torch')):
        os.environ['BHARNET_NATIVE'] = '0'
    if name == RELEASE:
        model, kind = Release(options.release), 'stock'
    else:
        config, kind = contenders()[name]
        model = MODELS.build(config)
    if name.endswith(', plain'):
        use_plain_form(model)
    device = torch.device(options.device)
    batch = make_batch(kind, options.batch, options.mix, options.frames)
    inputs, samples = to_device(batch, device)
    model = model.to(device)
    model.train(options.mode == 'train')
    if options.compile:
        compile_blocks(model)
        if name.startswith(('STGCN', 'AAGCN')):  # MMAction2's
            model.backbone.forward = torch.compile(model.backbone.forward)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=options.dtype == 'bf16'):
            if options.mode == 'inference':
                with torch.no_grad():
                    model(inputs, samples, mode='predict')
                return
            losses = model(inputs, samples, mode='loss')
        model.zero_grad(set_to_none=True)
        sum(v for k, v in losses.items() if 'loss' in k).backward()

    def sync() -> None:
        if device.type == 'cuda':
            torch.cuda.synchronize()

    before = memory_now()
    step()
    connection.send(dict(parameters=sum(p.numel() for p in model.parameters())))
    while (message := connection.recv()) is not None:
        if message == 'round':
            start, cpu = time.perf_counter(), time.process_time()
            step()
            sync()
            connection.send((time.perf_counter() - start, time.process_time() - cpu))
        elif message == 'memory':
            gpu = torch.cuda.max_memory_allocated() if device.type == 'cuda' else None
            peak = int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) * 1024
            connection.send(dict(memory_mib=(gpu or peak - before) / 2**20))
        elif message == 'macs':
            clip, _ = to_device(make_batch(kind, 1, 'full', options.frames), device)
            connection.send(count_macs(use_plain_form(model.eval()), clip))


def matrix_peak(threads: int, dtype: str, device: str) -> float:
    """The best rate of a large square product, in GFLOP/s."""
    import torch

    torch.set_num_threads(threads)
    kind = torch.bfloat16 if dtype == 'bf16' else torch.float32
    x = torch.randn(4096, 4096, device=device, dtype=kind)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        x @ x
        if device == 'cuda':
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * 4096**3 / min(times) / 1e9


def run_case(names: list[str], options: argparse.Namespace) -> list[dict]:
    """All contenders under one setting: rows of the table."""
    context = multiprocessing.get_context('spawn')
    links, rows = {}, []
    for name in names:
        here, there = context.Pipe()
        process = context.Process(target=work, args=(there, name, options), daemon=True)
        with unheard():
            process.start()
        links[name] = (here, process, here.recv())  # warm: built, and one step done
    seconds = {name: [] for name in names}
    for _ in range(options.rounds):
        for name, (link, _, _) in links.items():
            link.send('round')
            seconds[name].append(link.recv())
    peak = matrix_peak(options.threads, options.dtype, options.device)
    for name, (link, process, facts) in links.items():
        for question in ('memory', 'macs'):
            link.send(question)
            facts |= link.recv()
        link.send(None)
        process.join()
        wall, cpu = zip(*seconds[name], strict=True)
        low, median, high, p99 = np.percentile(wall, [25, 50, 75, 99])
        full = options.batch * facts['gmacs'] * 2 * (3 if options.mode == 'train' else 1)
        rows.append(
            dict(
                contender=name,
                mode=options.mode,
                dtype=options.dtype,
                batch=options.batch,
                mix=options.mix,
                frames=options.frames,
                clips_per_s=options.batch / median,
                clips_per_s_range=[options.batch / high, options.batch / low],
                ms=median * 1e3,
                p99_ms=p99 * 1e3,
                cpu_ms=min(cpu) * 1e3,
                share_of_peak=full / median / peak if options.mix == 'full' else None,
                peak_gflops=peak,
                **facts,
            )
        )
    return rows


def processor() -> str:
    """Name of the processor according to the system."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.split(':')[1].strip() for line in lines if line.startswith('model name')]
    return named[0] if named else platform.processor() or platform.machine()


def to_markdown(rows: list[dict]) -> str:
    """The rows as a table."""
    lines = [
        '| contender | mode | batch, mix, frames | dtype | clips/s (middle half) | ms, p50 and p99 '
        '| CPU ms | GMACs '
        '| M param. | peak MiB | share of matrix peak |',
        '|---|---|---|---|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        low, high = row['clips_per_s_range']
        share = '' if row['share_of_peak'] is None else f'{row["share_of_peak"]:.0%}'
        lines.append(
            f'| {row["contender"]} | {row["mode"]} | {row["batch"]}, {row["mix"]}, {row["frames"]} '
            f'| {row["dtype"]} '
            f'| {row["clips_per_s"]:.1f} ({low:.1f}-{high:.1f}) '
            f'| {row["ms"]:.0f}, {row["p99_ms"]:.0f} | {row["cpu_ms"]:.0f} '
            f'| {row["gmacs"]:.2f} '
            f'| {row["parameters"] / 1e6:.2f} | {row["memory_mib"]:.0f} | {share} |'
        )
    return '\n'.join(lines) + '\n'


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--contenders', nargs='+', help='default: all')
    parser.add_argument(
        '--modes', nargs='+', default=['inference', 'train'], choices=['inference', 'train']
    )
    parser.add_argument('--dtypes', nargs='+', default=['fp32'], choices=['fp32', 'bf16'])
    parser.add_argument(
        '--cases', nargs='+', default=['32:full'], help='BATCH:MIX with MIX full, real or single'
    )
    parser.add_argument('--frames', type=integer(1), default=FRAMES)
    parser.add_argument('--rounds', type=integer(1), default=5)
    parser.add_argument('--threads', type=integer(1), default=multiprocessing.cpu_count())
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--compile', action='store_true', help='torch.compile of the backbones')
    parser.add_argument(
        '--release', type=Path, help=f"checkout of DeGCN's public release: adds {RELEASE!r}"
    )
    parser.add_argument(
        '--out', type=output_files('.json', '.md'), help='writes OUT.json and OUT.md'
    )
    args = parser.parse_args(argv)
    known = [*contenders(), *([RELEASE] if args.release else [])]
    unknown = set(args.contenders or ()) - set(known)
    if unknown:
        parser.error(f'unknown contenders {sorted(unknown)}; there are {known}')
    names = args.contenders or known
    rows = []
    for mode in args.modes:
        for dtype in args.dtypes:
            for batch, mix in (case.split(':') for case in args.cases):
                case = dict(mode=mode, dtype=dtype, batch=int(batch), mix=mix)
                rows += run_case(names, argparse.Namespace(**vars(args) | case))
                print(to_markdown(rows[-len(names) :]), flush=True)
    if args.out:
        machine = dict(processor=processor(), threads=args.threads, device=args.device)
        write_json(args.out.with_suffix('.json'), dict(machine=machine, rows=rows))
        write_text(args.out.with_suffix('.md'), to_markdown(rows))
