"""Measures everything on a GPU within six minutes.

python tools/analysis/gpu_check.py --out work_dirs/gpu_check

Sections run one after the other, the most important first, in a process of their own; each writes
its result when it ends. A section that fails or takes too long is listed as failed, and the next
one starts. If a contender makes the device fail, a new process continues with the contender after
it. To continue, run the command again: what was measured is kept, what failed is repeated.

`--device cpu --quick` runs small versions of all sections on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..io.arguments import decimal
from ..io.atomic import write_json, write_text
from ..io.outputs import output_folder
from ..io.process import die_with, unheard
from . import gpu_epoch, gpu_graphs, gpu_kernels
from . import gpu_sections as parts
from .gpu_results import errors_in, is_device_error, read_results, without_errors
from .gpu_sections import Sizes, cores

#: Section → its function and its time limit in seconds.
SECTIONS: dict[str, tuple[Callable[[Sizes], dict], int]] = {
    'machine': (parts.machine, 30),
    'kernels': (gpu_kernels.kernels, gpu_kernels.LIMIT + 50),
    'parity': (parts.parity, 120),
    'train_real_bf16': (parts.table('train', 'real', 'bf16'), 120),
    'graphs': (gpu_graphs.graphs, 100),
    'profile': (parts.profile, 60),
    'latency': (gpu_graphs.latency, 60),
    'infer_real_bf16': (parts.table('inference', 'real', 'bf16'), 60),
    'infer_graphs': (gpu_graphs.infer_graphs, 60),
    'epoch': (gpu_epoch.epoch, 90),
    'train_full_bf16': (parts.table('train', 'full', 'bf16'), 60),
    'train_real_fp32': (parts.table('train', 'real', 'fp32'), 60),
    'train_full_fp32': (parts.table('train', 'full', 'fp32'), 60),
    'infer_full_fp32': (parts.table('inference', 'full', 'fp32'), 60),
    'compile': (parts.compiled, 120),
}
#: Warnings that tell what was measured: a kernel or a graph was replaced.
WORTH = re.compile('Triton|CUDA graph|kernel')
QUICK = dict(batch=2, frames=8, rounds=1, calls=2, clips=6, epochs=1, names=('BHaRNet light',))


def _work(names: list[str], sizes: Sizes, out: Path) -> None:
    """The process that measures; it ends after an error from which the device does not recover."""
    die_with()
    import torch
    from mmengine.registry import init_default_scope

    init_default_scope('mmaction')
    torch.set_num_threads(1 if sizes.names else cores())
    for name in names:
        write_json(out / 'running.json', dict(section=name, since=time.time()))
        start, part = time.perf_counter(), out / f'{name}.part.json'
        fatal, errors = False, errors_in(part)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('default')
            try:
                result = dict(ok=True, **SECTIONS[name][0](replace(sizes, part=part)))
            except Exception as error:
                fatal = is_device_error(error)
                if fatal and errors_in(part) > errors:
                    print(*(w.message for w in caught), sep='\n', file=sys.stderr)
                    traceback.print_exc()
                    return  # a new process continues with the next contender
                result = _failure(error) | read_results(part)
        warned = sorted({str(w.message) for w in caught if WORTH.search(str(w.message))})
        result |= dict(warned=warned, seconds=time.perf_counter() - start)
        write_json(out / f'{name}.json', result)
        part.unlink(missing_ok=True)
        if fatal:
            return
        if sizes.device == 'cuda':
            torch.cuda.empty_cache()


def _failure(error: BaseException) -> dict:
    lines = traceback.format_exception(error)
    return dict(ok=False, error=f'{type(error).__name__}: {error}', trace=''.join(lines)[-4000:])


def read(out: Path) -> dict[str, dict]:
    """The existing results, by section."""
    found = {}
    for name in SECTIONS:
        path = out / f'{name}.json'
        if path.exists():
            found[name] = read_results(path)
    return found


def run(names: list[str], sizes: Sizes, out: Path, limit: float) -> None:
    """Runs the sections that have no result yet, or of which a contender failed, at most ``limit``
    seconds in all.
    """
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + limit
    results = read(out)
    left = [n for n in names if not results.get(n, {}).get('ok') or results[n].get('failed')]
    for name in left:
        kept = without_errors(results.get(name, {}) | read_results(out / f'{name}.part.json'))
        write_json(out / f'{name}.part.json', kept)
        (out / f'{name}.json').unlink(missing_ok=True)
    context = multiprocessing.get_context('spawn')
    while left and time.monotonic() < end:
        process = context.Process(target=_work, args=(left, sizes, out))
        errors = errors_in(out / f'{left[0]}.part.json')
        with unheard():
            process.start()
        left = _watch(process, left, out, end, errors)


def _watch(process, left: list[str], out: Path, end: float, errors: int) -> list[str]:
    """Waits for the process, ends it when a section takes too long; the sections that are left.
    ``errors`` is the number of contenders that had failed before in the first section.
    """
    current, since, why = left[0], time.monotonic(), None
    while process.is_alive():
        process.join(0.2)
        done = [name for name in left if (out / f'{name}.json').exists()]
        if len(done) == len(left):
            process.join(30)
            process.kill()
            break
        following = next(name for name in left if name not in done)
        if following != current:
            _say(current, out)
            current, since, errors = following, time.monotonic(), 0
        # The time for starting and importing is added to the first section.
        late = time.monotonic() - since > SECTIONS[current][1] + 30
        if late or time.monotonic() > end:
            process.kill()
            process.join()
            why = 'took too long' if late else 'the time was up'
    done = [name for name in left if (out / f'{name}.json').exists()]
    part = out / f'{current}.part.json'
    if current not in done:
        if why is None and errors_in(part) > errors:
            print(f'{current}: continues in a new process', flush=True)
            return [name for name in left if name not in done]
        error = why or f'the process ended with exit code {process.exitcode}'
        write_json(out / f'{current}.json', dict(ok=False, error=error) | read_results(part))
        done.append(current)
    _say(current, out)
    return [name for name in left if name not in done]


def _say(name: str, out: Path) -> None:
    path = out / f'{name}.json'
    if path.exists():
        result = read_results(path)
        state = 'done' if result['ok'] else f'FAILED: {result["error"]}'
        print(f'{name}: {state} ({result.get("seconds", 0):.0f} s)', flush=True)


def to_markdown(results: dict[str, dict]) -> str:
    """The report."""
    lines = ['# GPU check', '']
    machine = results.get('machine', {})
    lines += [', '.join(f'{k} {v}' for k, v in machine.items() if k not in ('ok', 'seconds')), '']
    cases = [name for name in results if 'rows' in results[name]]
    names = dict.fromkeys(n for case in cases for n in results[case].get('rows', {}))
    if cases:
        lines += [f'| clips/s (GB) | {" | ".join(c.replace("_", " ") for c in cases)} |']
        lines += ['|---' * (len(cases) + 1) + '|']
        for name in names:
            cells = [_cell(results[case].get('rows', {}).get(name, {})) for case in cases]
            lines.append(f'| {name} | {" | ".join(cells)} |')
        lines.append('')
    lines += ['## Goals', '', *_goals(results), '']
    for section, title in (
        ('kernels', 'Triton kernels, compiled on all cores'),
        ('parity', 'Parity with the CPU in float32: relative difference'),
        ('graphs', 'Training with the optimizer, CUDA graphs on and off'),
        ('infer_graphs', 'Inference of a batch as a CUDA graph'),
        ('latency', 'One clip'),
        ('profile', 'Launches and busy share of a training step, bf16, real mix'),
        ('epoch', 'An epoch end to end'),
        ('compile', 'torch.compile, block by block'),
    ):
        if results.get(section, {}).get('ok') or results.get(section, {}).get('results'):
            values = results[section]
            rows = values.get('results', values)
            lines += [f'## {title}', '', *_rows(rows), '']
    lines += _kernels(results.get('profile', {}).get('results', {}).get('BHaRNet-P', {}))
    failed = [
        f'- {name}: {result["error"]}' for name, result in results.items() if not result.get('ok')
    ]
    partly = [f'- {n}: {r["failed"]} contenders' for n, r in results.items() if r.get('failed')]
    missing = [f'- {name}: not run' for name in SECTIONS if name not in results]
    lines += ['## What failed or is missing', '', *(failed + partly + missing or ['Nothing.']), '']
    warned = [f'- {name}: {w}' for name, r in results.items() for w in r.get('warned', ())]
    lines += ['## Warnings', '', *warned, ''] if warned else []
    return '\n'.join(lines)


def _kernels(profile: dict) -> list[str]:
    """The kernels that take most of P's training step."""
    if not profile.get('kernels'):
        return []
    lines = ['## Where the GPU spends a training step of P', '', '| kernel | launches | ms |']
    lines += ['|---|---|---|']
    for kernel in profile['kernels'][:25]:
        lines.append(f'| `{kernel["name"]}` | {kernel["launches"]} | {kernel["ms"]:.2f} |')
    return [*lines, '']


def _goals(results: dict) -> list[str]:
    """What was measured beside what was wanted (batches of 64, 64 frames, real mix, bf16)."""
    rows = results.get('train_real_bf16', {}).get('rows', {})
    steps = results.get('graphs', {}).get('results', {})
    clips = results.get('latency', {}).get('results', {})
    inferred = results.get('infer_real_bf16', {}).get('rows', {}).get('BHaRNet-P', {})
    replayed = results.get('infer_graphs', {}).get('results', {}).get('BHaRNet-P', {})
    epoch = results.get('epoch', {}).get('end_to_end_clips_per_s')
    peer = rows.get('STGCN++ unified', {}).get('clips_per_s')
    lines = []
    wanted = (('P', 3000), ('M', 1800), ('E', 1800), ('light', 5000))
    for short, goal in wanted:
        name = 'BHaRNet light' if short == 'light' else f'BHaRNet-{short}'
        found = {
            how: row['clips_per_s']
            for how, row in (
                ('eager', rows.get(name, {})),
                ('eager with the optimizer', steps.get(f'{name}, eager', {})),
                ('CUDA graph', rows.get(f'{name}, graph', {})),
                ('CUDA graph with the optimizer', steps.get(f'{name}, graph', {})),
            )
            if 'clips_per_s' in row
        }
        if found:
            best = max(found, key=found.get)
            times = f', {found[best] / peer:.1f} times STGCN++ unified' if peer else ''
            others = ', '.join(f'{how} {speed:.0f}' for how, speed in found.items() if how != best)
            lines.append(
                f'- {short} trains, {best}: {found[best]:.0f} clips/s of {goal}{times}'
                + (f' ({others})' if others else '')
            )
    for how, row in (('eager', inferred), ('CUDA graph', replayed)):
        if 'clips_per_s' in row:
            lines.append(f'- P infers, {how}: {row["clips_per_s"]:.0f} clips/s of 12000')
    if epoch:
        lines.append(
            f'- P trains end to end, CUDA graph: {epoch:.0f} clips/s of 2550 '
            '(85 % of 3000; NTU 120 in an hour)'
        )
    for name, goal in (('BHaRNet-P', 5), ('BHaRNet light', 4)):
        for key, row in clips.items():
            if key.startswith(f'{name}, bf16') and 'ms' in row:
                lines.append(
                    f'- one clip, {key}: {row["ms"]:.1f} ms of {goal}, p99 {row["p99_ms"]:.1f}'
                )
    return lines or ['Nothing was measured.']


def _cell(row: dict) -> str:
    if 'clips_per_s' not in row:
        return 'failed' if 'error' in row else ''
    memory = '' if row.get('memory_gb') is None else f' ({row["memory_gb"]:.1f})'
    return f'{row["clips_per_s"]:.0f}{memory}'


def _rows(rows: dict) -> list[str]:
    """One line for each entry, with its numbers."""
    if not any(isinstance(value, dict) for value in rows.values()):
        rows = {'': rows}
    lines = []
    for name, row in rows.items():
        if isinstance(row, dict):
            numbers = [
                f'{key} {value:.4g}' if isinstance(value, float) else f'{key} {value}'
                for key, value in row.items()
                if isinstance(value, (int, float, str)) and key not in ('ok', 'seconds')
            ]
            lines.append(f'- {name}: {", ".join(numbers)}')
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=output_folder, default=Path('work_dirs/gpu_check'))
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda')
    parser.add_argument('--sections', nargs='+', choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument('--limit', type=decimal(above=0), default=360, help='seconds in all')
    parser.add_argument('--quick', action='store_true', help='tiny sizes, few contenders')
    args = parser.parse_args(argv)
    os.environ.pop('TRITON_INTERPRET', None)  # kernels are compiled, and sections inherit it
    sizes = Sizes(args.device, **(QUICK if args.quick else {}))
    run(args.sections, sizes, args.out, args.limit)
    results = read(args.out)
    write_json(args.out / 'gpu_check.json', results)
    write_text(args.out / 'gpu_check.md', to_markdown(results))
    print(to_markdown(results))
