"""The cost of a launch by calculation."""

from types import SimpleNamespace

import torch

from bharnet_mm.experiments.kernel_costs import BYTES, MATRIX, Cost, resident, table


def kernel(name, module, parameters):
    parameters = [SimpleNamespace(name=p) for p in parameters]
    return SimpleNamespace(__name__=name, __module__=f'ops.{module}', params=parameters)


def test_programs_that_a_processor_holds():
    assert resident(255, 8, 0) == 1  # by registers
    assert resident(128, 8, 0) == 2 and resident(130, 8, 0) == 1
    assert resident(32, 4, 0) == 16  # by warps
    assert resident(32, 4, 100 * 1024) == 2  # by shared memory
    assert resident(16, 1, 0) == 32


def test_a_product_moves_its_operands_once_and_fills_its_tiles():
    cost = Cost()
    names = ['x', 'weight', 'bias', 'y', 'size', 'depth', 'places']
    product = kernel('_product_kernel', 'pointwise', names)
    x, y = torch.zeros(264, 20, 128), torch.zeros(264, 16, 128)
    weight = torch.zeros(1, 16, 20)
    options = dict(grid=(264, 1), BLOCK_O=16, BLOCK_C=32, BLOCK_N=128)
    cost.add(product, (x, weight, x, y, 264, 20, 128), options)  # x stands for the bias
    moved = 4 * (x.numel() + weight.numel() + y.numel())
    assert cost.bytes == moved and cost.matrix == 2 * 264 * 16 * 32 * 128
    assert cost.seconds == max(moved / BYTES, cost.matrix / MATRIX)
    cost.add(product, (x, weight, x, y, 264, 20, 128), options | dict(grid=(66, 1)))
    assert cost.programs == {264: 1, 66: 1} and cost.launches == 2
    assert cost.seconds == 3 * moved / BYTES  # half of the processors idle in the second
    row = dict(kernel='product', registers=128, warps=8, shared=0, spilled=4, constants={})
    text = table([row | dict(cost=cost), dict(kernel='other', error='none')])
    assert '| `product` | 2 | 66 to 264 | 8 | 128 | 2 | 0.2 to 1.0 |' in text
    assert text.endswith(f'2 launches, at least {cost.seconds * 1e3:.2f} ms.\n')


def test_statistics_and_relations_read_what_they_need():
    u = torch.zeros(2, 8, 4)
    cost = Cost()
    names = ['x', 'part', 'rows', 'channels']
    cost.add(kernel('moments_kernel', 'common', names), (u, u, u, 6), dict(grid=(6, 1)))
    assert cost.bytes == 2 * 6 * 4 * 4
    cost, mean = Cost(), torch.zeros(2, 8)
    names = ['x', 'mean', 'channels']
    options = dict(grid=(2, 1), KNOWN=True, BLOCK_R=16, BLOCK_V=16)
    cost.add(kernel('relate_kernel', 'refined_graph_kernels', names), (u, mean, 8), options)
    assert cost.bytes == 2 * 8 * 4 and cost.vector == 4 * 2 * 16 * 8 * 16
