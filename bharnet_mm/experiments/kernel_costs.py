"""What a kernel's launch costs by calculation: programs, bytes, operations, and its least time."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from torch import Tensor

from ..io.names import table_row

#: Of an H100: processors, registers and bytes of shared memory of one, its warps and programs.
PROCESSORS, REGISTERS, SHARED, WARPS, PROGRAMS = 132, 65536, 228 * 1024, 64, 32
#: Of an H100: bytes and operations a second (copy and bf16 product measured, float32 by the
#: maker: 66.9e12).
BYTES, MATRIX, VECTOR = 3.0e12, 787e12, 66.9e12


@dataclass
class Cost:
    """Sums over the launches of a kernel with one set of sizes.

    Attributes:
        launches (int): Number of launches.
        programs (Counter): Programs of a launch → number of such launches.
        bytes (float): Bytes of all operands, each read or written once.
        matrix (float): Operations on the matrix units, tiles filled up.
        vector (float): Operations in float32 beside them: those of the topology, of relations and
            of sampling.
    """

    launches: int = 0
    programs: Counter = field(default_factory=Counter)
    bytes: float = 0
    matrix: float = 0
    vector: float = 0
    seconds: float = 0

    def add(self, kernel, args: tuple, options: dict) -> None:
        """Adds a launch ``kernel[grid](*args, **options)``."""
        values = dict(zip([p.name for p in kernel.params], args, strict=False)) | options
        programs = math.prod(options['grid'])
        moved = bytes_of(kernel.__name__, values)
        matrix, vector = operations(kernel.__module__.split('.')[-1], kernel.__name__, values)
        self.launches += 1
        self.programs[programs] += 1
        self.bytes += moved
        self.matrix += matrix
        self.vector += vector
        share = min(1, programs / PROCESSORS)  # a processor without a program idles
        busy = max(moved / BYTES, matrix / MATRIX, vector / VECTOR)
        self.seconds += busy / share


def bytes_of(name: str, values: dict) -> float:
    """Bytes of a launch's operands. A tensor that stands for one that is missing counts once."""
    used = {k: t for k, t in values.items() if isinstance(t, Tensor)}
    if values.get('KNOWN'):  # the means are read instead
        del used['x']
    once = {t.data_ptr(): t.numel() * t.element_size() for t in used.values()}
    if name == 'moments_kernel':  # of some channels
        x = used['x']
        once[x.data_ptr()] = x.numel() * x.element_size() * values['channels'] // x.size(1)
    return sum(once.values())


def operations(module: str, name: str, v: dict) -> tuple[float, float]:
    """Operations of a launch on the matrix units and beside them; a multiply-add is two."""
    programs = math.prod(v['grid'])
    if name == '_product_kernel':
        depth = -(-v['depth'] // v['BLOCK_C']) * v['BLOCK_C']
        jobs = v['grid'][1] * -(-v['size'] * v['places'] // v['BLOCK_N'])
        return 2.0 * jobs * v['BLOCK_O'] * depth * v['BLOCK_N'], 0.0
    if name == '_weight_kernel':
        jobs = v['grid'][0] * -(-v['size'] * v['places'] // v['BLOCK_N'])
        return 2.0 * jobs * v['BLOCK_O'] * v['BLOCK_C'] * v['BLOCK_N'], 0.0
    if name == 'relate_kernel':
        return 0.0, 4.0 * programs * v['BLOCK_R'] * v['channels'] * v['BLOCK_V']
    if module == 'refined_graph_kernels':
        return _of_the_graph(name, v)
    if module in ('temporal_kernels', 'temporal_gradients'):
        return _of_the_branches(name, v)
    return 0.0, 0.0


def _of_the_graph(name: str, v: dict) -> tuple[float, float]:
    """Of the refined graph convolution, by what its programs do."""
    programs, depth = math.prod(v['grid']), v.get('BLOCK_D', 0)
    if name == 'features_kernel':
        rows = -(-v['rows'] // v['BLOCK_K']) * v['BLOCK_K'] + 2 * v['BLOCK_R']
        return 2.0 * programs * v['BLOCK_C'] * rows * v['BLOCK_N'], 0.0
    if name == 'mix_kernel':
        joints = -(-v['joints'] // v['BLOCK_V']) * v['BLOCK_V']
        return 2.0 * programs * v['S'] * v['BLOCK_V'] * joints * v['BLOCK_T'], 0.0
    if name == 'mix_backward_kernel':
        joints = -(-v['joints'] // v['BLOCK_V']) * v['BLOCK_V']
        frames = -(-v['frames'] // v['BLOCK_T']) * v['BLOCK_T']
        return 4.0 * programs * v['S'] * v['BLOCK_V'] * joints * frames, 0.0
    tanh = 8 * depth * v['BLOCK_N']
    if name == 'topology_kernel':
        each = 2 * v['BLOCK_O'] * depth * v['BLOCK_N']
        return 1.0 * programs * v['S'] * each, 1.0 * programs * v['S'] * tanh
    tiles = v['grid'][0] * v['size'] * -(-(v['joints'] ** 2) // v['BLOCK_N'])
    each = 4 * depth * v['BLOCK_N'] * (v['BLOCK_O'] + v['BLOCK_V'])
    return 1.0 * tiles * each, 1.0 * tiles * tanh


def _of_the_branches(name: str, v: dict) -> tuple[float, float]:
    """Of the temporal branches: products along channels and along time of the two deformable ones,
    and what is done for a value, for a weight of the interpolation and for a sample.
    """
    q, lines, t, s, eta = (v[key] for key in ('BLOCK_Q', 'LINES', 'BLOCK_T', 'BLOCK_S', 'ETA'))
    tiles = -(-v['size'] * v['joints'] // lines)
    tiles *= -(-v['frames'] // t) * -(-v['short'] // s)
    channels, time = 2 * q * q * lines * s, 2 * q * lines * t * s
    if name == 'features_kernel':
        time *= 2  # the gradients to the offsets, too
    values, samples, weights = q * lines * t, q * lines * s, t * s
    if name == 'parameters_kernel':
        values *= eta  # one program for each sample
        weights = 0  # once for a program
    matrix = 2.0 * tiles * eta * (channels + time)
    return matrix, 2.0 * tiles * (12 * values + eta * (4 * samples + 6 * weights))


def resident(registers: int, warps: int, shared: int) -> int:
    """Programs that one processor holds at a time."""
    by_warp = -(-registers * 32 // 256) * 256  # a warp gets them in steps of 256
    by_shared = SHARED // (shared + 1024)  # each program takes 1 KB more
    return max(0, min(REGISTERS // (by_warp * warps), WARPS // warps, PROGRAMS, by_shared))


def table(rows: list[dict]) -> str:
    """One line a kernel, ranges over its sizes, the largest time first, and the sum.

    Args:
        rows: What :func:`.kernels.compile_one` gives, with ``cost``.
    """
    lines = [
        '| kernel | launches | programs | warps | registers | at a time | rounds | MB | GFLOP '
        '| least time, ms |',
        '|---|---|---|---|---|---|---|---|---|---|',
    ]
    rows = [row for row in rows if 'error' not in row]
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row['kernel'], []).append(row)
    for kernel, group in sorted(groups.items(), key=lambda item: -_seconds(item[1])):
        costs = [row['cost'] for row in group]
        held = [resident(row['registers'], row['warps'], row['shared']) for row in group]
        rounds = [
            number / (n * PROCESSORS)
            for cost, n in zip(costs, held, strict=True)
            for number in cost.programs
            if n
        ]
        programs = [number for cost in costs for number in cost.programs]
        cells = [
            f'`{kernel.replace("_kernels.", ".")}`',
            sum(cost.launches for cost in costs),
            *(_span(v) for v in (programs, *_columns(group, 'warps', 'registers'), held)),
            _span([round(r, 1) for r in rounds]),
            f'{sum(cost.bytes for cost in costs) / 1e6:.0f}',
            f'{sum(cost.matrix + cost.vector for cost in costs) / 1e9:.1f}',
            f'{_seconds(group) * 1e3:.2f}',
        ]
        lines.append(table_row(cells))
    number = sum(row['cost'].launches for row in rows)
    lines += ['', f'{number} launches, at least {_seconds(rows) * 1e3:.2f} ms.']
    return '\n'.join(lines) + '\n'


def _seconds(rows: list[dict]) -> float:
    return sum(row['cost'].seconds for row in rows)


def _columns(rows: list[dict], *names: str) -> list[list]:
    return [[row[name] for row in rows] for name in names]


def _span(values: list) -> str:
    low, high = min(values, default=''), max(values, default='')
    return f'{low}' if low == high else f'{low} to {high}'
