"""The kernels compile for an H100 on a machine without a GPU, and fit its shared memory."""

import os
import subprocess
import sys

import pytest

pytest.importorskip('triton')

#: Bytes of shared memory that a program may have on compute capability 9.0.
SHARED = 227 * 1024

SCRIPT = """
import sys, torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction
from bharnet_mm.ops.triton import norm_act, pointwise, refined_graph, temporal

TYPES = {torch.float32: '*fp32', torch.bfloat16: '*bf16', torch.int64: '*i64'}
dtype, joints, channels, out, frames, stride = eval(sys.argv[1])


def compile_only(self, *args, grid=None, warmup=False, **options):
    names = [p.name for p in self.params]
    values = dict(zip(names, args)) | options
    signature, constants = {}, {}
    for i, p in enumerate(self.params):
        value = values[p.name]
        if p.is_constexpr:
            signature[p.name], constants[(i,)] = 'constexpr', value
        elif isinstance(value, torch.Tensor):
            signature[p.name] = TYPES[value.dtype]
        else:
            signature[p.name] = 'i32' if isinstance(value, int) else 'fp32'
    source = ASTSource(fn=self, signature=signature, constexprs=constants)
    warps = {k: v for k, v in options.items() if k == 'num_warps'}
    kernel = triton.compile(source, target=GPUTarget('cuda', 90, 32), options=warps)
    print(self.__name__, kernel.metadata.shared)


JITFunction.run = compile_only
groups, subsets = 4, 3
depth = max(channels // 8, groups) // groups
x = torch.zeros(2, channels, joints, frames, dtype=dtype)
shapes = [(groups, subsets * depth, channels // groups), (groups * subsets * depth,)] * 2
shapes += [(groups, out // groups * subsets, channels // groups), (out * subsets,)]
shapes += [(groups, out // groups, subsets, depth), (groups, out // groups, subsets), ()]
graph = [torch.zeros(s) for s in (*shapes, (subsets, joints, joints))]
y, mean = refined_graph.forward(x, *graph)
refined_graph.backward(y, x, mean, *graph)
rows, line = torch.tensor(2), torch.zeros(out)
_, stats = norm_act.forward(y, y, line, line, None, None, rows, 1e-5, 0.1)
norm_act.backward(y, y, y, line, stats, rows, True, True, 0.1)
weight = torch.zeros(groups, out // groups, channels // groups)
pointwise.backward(pointwise.product(x, weight, None, stride), x, weight, False, stride)
q = out // 4
parts = [torch.zeros(q, q, 4), torch.zeros(4)] * 2
norm = torch.zeros(3 * q), torch.zeros(3 * q)
z, stats = temporal.forward(y, *norm, None, None, *parts, rows, 1e-5, stride, 0.1)
temporal.backward(z, y, stats, *norm, *parts, rows, True, stride, 0.1)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    'case',
    [
        '(torch.bfloat16, 25, 64, 64, 64, 1)',
        '(torch.bfloat16, 21, 128, 256, 32, 2)',
        '(torch.float32, 67, 256, 256, 16, 1)',
    ],
)
def test_kernels_compile_for_an_h100(case, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != 'TRITON_INTERPRET'}
    environment['TRITON_CACHE_DIR'] = str(tmp_path)
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT, case],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    shared = {line.split()[0]: int(line.split()[1]) for line in result.stdout.splitlines()}
    assert len(shared) >= 10 and max(shared.values()) <= SHARED, shared


COLLECT = """
import os

os.environ['BHARNET_NATIVE'] = '0'
from mmengine.registry import init_default_scope

from bharnet_mm.experiments import kernels

init_default_scope('mmaction')
found = kernels.collect(['BHaRNet-P'], ['bf16'], ['train'])
for key, launch in found.launches.items():
    if key[1] in ('_weight_kernel', 'relations_kernel', 'features_kernel', 'parameters_kernel'):
        row = kernels.compile_one(launch, 90)
        print(row['kernel'], row['read_twice'], row['shared'])
"""


@pytest.mark.long
def test_no_tile_is_read_by_a_product_in_the_background_and_by_registers(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != 'TRITON_INTERPRET'}
    environment['TRITON_CACHE_DIR'] = str(tmp_path)
    command = [sys.executable, '-W', 'ignore', '-c', COLLECT]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    rows = [line.split() for line in result.stdout.splitlines()]
    assert len(rows) > 30 and all(row[1] == '0' for row in rows), rows
