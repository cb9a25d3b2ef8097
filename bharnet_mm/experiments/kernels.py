"""Compiles the Triton kernels of a training step and of inference for a GPU, without one.

python tools/analysis/compile_kernels.py BHaRNet-P

For every kernel and every set of sizes that the networks launch it with: registers of a thread,
bytes of spilled registers, of stack and of shared memory, as Triton and its assembler report them.
With ``--batch 64`` also what the launches of a step of so many clips of the real mix take at least
on an H100, by calculation. Nothing here is measured on a GPU.

Works with the Triton that is installed; compiled kernels stay in Triton's
cache.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..io.arguments import integer
from ..io.atomic import write_json, write_text
from ..io.names import table_row
from ..io.outputs import output_file
from .kernel_costs import Cost, table

KINDS = {
    torch.float32: 'fp32',
    torch.bfloat16: 'bf16',
    torch.float16: 'fp16',
    torch.int64: 'i64',
}
MODES = ('train', 'inference')
DTYPES = {'bf16': torch.bfloat16, 'fp32': None}
#: Bytes of shared memory that a program may have, by compute capability.
SHARED = {80: 163 * 1024, 86: 99 * 1024, 89: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024}


class Found:
    """Kernels with the arguments by which Triton would compile them, each once."""

    def __init__(self) -> None:
        self.launches: dict[tuple, tuple] = {}
        self.uses: dict[tuple, Cost] = defaultdict(Cost)

    def add(self, kernel, args: tuple, options: dict) -> tuple:
        """Notes a launch ``kernel[grid](*args, **options)``; what it is compiled for."""
        values = dict(zip([p.name for p in kernel.params], args, strict=False)) | options
        signature, constants, attributes = {}, {}, {}
        for i, p in enumerate(kernel.params):
            value = values[p.name]
            if p.is_constexpr:
                kind, constants[(i,)] = 'constexpr', value
            elif isinstance(value, Tensor):
                kind, attributes[(i,)] = '*' + KINDS[value.dtype], [['tt.divisibility', 16]]
            elif isinstance(value, float):
                kind = 'fp32'
            elif value == 1 and not p.do_not_specialize:
                kind, constants[(i,)] = 'constexpr', 1
            else:
                kind = 'i32'
                if value % 16 == 0 and not p.do_not_specialize:
                    attributes[(i,)] = [['tt.divisibility', 16]]
            signature[p.name] = kind
        taken = ('num_warps', 'num_stages', 'maxnreg')
        launch = {name: options[name] for name in taken if name in options}
        key = (kernel.__module__, kernel.__name__, str((signature, constants, attributes, launch)))
        self.launches.setdefault(key, (kernel, signature, constants, attributes, launch))
        if 'grid' in options:
            self.uses[key].add(kernel, args, options)
        return key


def collect(
    names: Sequence[str],
    dtypes: Sequence[str],
    modes: Sequence[str] = MODES,
    clips: int = 2,
) -> Found:
    """The kernels of a training step and of inference of some contenders."""
    from .launches import count

    found = Found()
    for name in names:
        for mode in modes:
            for dtype in dtypes:
                args = Counter(), mode, DTYPES[dtype], found.add
                count(name, *args, compute=False, clips=clips)
    return found


def compile_one(launch: tuple, capability: int) -> dict:
    """Compiles a kernel; what it takes of a processor."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel, signature, constants, attributes, options = launch
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    target = GPUTarget('cuda', capability, 32)
    start = time.perf_counter()
    compiled = triton.compile(source, target=target, options=dict(options))
    seconds = time.perf_counter() - start
    features = sorted({k[1:] for k in signature.values() if k in ('*fp32', '*bf16', '*fp16')})
    shown = {kernel.params[i].name: v for (i,), v in constants.items()}
    return dict(
        kernel=f'{kernel.__module__.split(".")[-1]}.{kernel.__name__}',
        types='+'.join(features),
        constants=shown,
        warps=options.get('num_warps', 4),
        seconds=seconds,
        shared=compiled.metadata.shared,
        read_twice=len(read_twice(compiled.asm['ttgir'])),
        **assembled(compiled.asm['ptx'], capability),
    )


def read_twice(code: str) -> set[str]:
    """Tiles in shared memory that a product in the background and the registers both read, in
    Triton's code for GPUs.

    Triton 3.6 counts too few buffers for them: the next tile may overwrite one before the product
    has ended, which changes results now and then when other programs share the processor.
    """
    tiles = dict(re.findall(r'(%\w+) = ttg\.memdesc_index (%\w+)\[', code))
    turned = dict(re.findall(r'(%\w+) = ttg\.memdesc_trans (%\w+)', code))
    loaded = {tiles.get(name) for name in re.findall(r'ttg\.local_load (%\w+)', code)}
    products = re.findall(r'warp_group_dot (%\w+), (%\w+), .*isAsync = true', code)
    names = {turned.get(name, name) for pair in products for name in pair}
    return loaded & {tiles[name] for name in names if name in tiles}


def assembled(ptx: str, capability: int) -> dict:
    """Registers, spilled bytes and stack by the assembler that comes with Triton."""
    from triton.backends.nvidia.compiler import get_ptxas

    tool = get_ptxas(capability).path  # which of its two assemblers it uses depends on its version
    architecture = re.search(r'\.target (\w+)', ptx)[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'kernel.ptx'
        write_text(path, ptx)
        command = [str(tool), '-v', f'--gpu-name={architecture}', str(path)]
        command += ['-o', str(path.with_suffix('.cubin'))]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    pattern = r'(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes'
    stack, stores, loads = map(int, re.search(pattern, report).groups())
    registers = int(re.search(r'Used (\d+) registers', report)[1])
    return dict(registers=registers, spilled=stores + loads, stack=stack)


def to_markdown(rows: list[dict], capability: int) -> str:
    """One line a kernel and type of features: the range over all its sizes."""
    lines = [
        '| kernel | types | variants | registers | spilled, bytes | stack, bytes | shared, KB |',
        '|---|---|---|---|---|---|---|',
    ]
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault((row['kernel'], row['types']), []).append(row)
    for (kernel, types), group in sorted(groups.items()):
        failed = [row for row in group if 'error' in row]
        good = [row for row in group if 'error' not in row]
        cells = [_range([row[key] for row in good]) for key in ('registers', 'spilled', 'stack')]
        cells.append(_range([round(row['shared'] / 1024) for row in good]))
        number = f'{len(group)}' + (f', {len(failed)} FAILED' if failed else '')
        lines.append(table_row([kernel, types, number, *cells]))
    limit = SHARED.get(capability)
    large = [r['kernel'] for r in rows if limit and r.get('shared', 0) > limit]
    seconds = sum(row.get('seconds', 0) for row in rows)
    lines += ['', f'Compiled in {seconds:.0f} s, those of the cache included.']
    lines += ['', f'More shared memory than a program may have: {", ".join(large) or "none"}.']
    twice = sorted({row['kernel'] for row in rows if row.get('read_twice')})
    lines += ['', f'Tiles read by a product and by registers: {", ".join(twice) or "none"}.']
    return '\n'.join(lines) + '\n'


def _range(values: list[int]) -> str:
    if not values:
        return ''
    return f'{min(values)}' if min(values) == max(values) else f'{min(values)} to {max(values)}'


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('contenders', nargs='*', default=['BHaRNet-P'])
    parser.add_argument('--dtypes', nargs='+', default=['bf16'], choices=list(DTYPES))
    parser.add_argument('--capability', type=integer(1), default=90, help='90: H100, 80: A100')
    parser.add_argument('--modes', nargs='+', default=list(MODES), choices=MODES)
    parser.add_argument('--batch', type=integer(1), help='adds the time of a step of so many clips')
    parser.add_argument('--kernels', help='only those whose name contains this')
    parser.add_argument('--out', type=output_file, help='writes all variants as JSON')
    args = parser.parse_args(argv)
    os.environ['BHARNET_NATIVE'] = '0'
    from mmengine.registry import init_default_scope

    init_default_scope('mmaction')
    found = collect(args.contenders, args.dtypes, args.modes, args.batch or 2)
    rows = []
    for key, launch in found.launches.items():
        if args.kernels and args.kernels not in f'{key[0]}.{key[1]}':
            continue
        try:
            rows.append(compile_one(launch, args.capability) | dict(cost=found.uses[key]))
        except Exception as error:  # another kernel may still compile
            text = f'{type(error).__name__}: {error}'[:500]
            name = f'{key[0].split(".")[-1]}.{key[1]}'
            types = sorted({k[1:] for k in launch[1].values() if k.startswith(('*f', '*b'))})
            rows.append(dict(kernel=name, types='+'.join(types), error=text))
            print(name, text, flush=True)
    print(to_markdown(rows, args.capability))
    if args.batch:
        print(table(rows))
    if args.out:
        rows = [row | dict(cost=vars(row['cost'])) if 'cost' in row else row for row in rows]
        write_json(args.out, rows)


if __name__ == '__main__':
    main()
