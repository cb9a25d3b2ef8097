"""A folded block by the native kernel: its weights in the order in which the kernel reads them."""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from . import pointer

LANES = 16  # as in vec.h
FLOATS = ctypes.c_void_p


class Shape(ctypes.Structure):
    """Instances, groups, a group's channels in, out and of a subset's relation, joints, frames."""

    _fields_ = [(name, ctypes.c_int64) for name in 'PGCORVT']


class Weight(ctypes.Structure):
    """``Weight`` of folded.cpp: rows in sixteens, zeros where there are fewer."""

    _fields_ = [('weight', FLOATS), ('bias', FLOATS)]
    _fields_ += [(name, ctypes.c_int64) for name in ('rows', 'depth', 'taps')]


class Block(ctypes.Structure):
    """``Block`` of folded.cpp."""

    _fields_ = [('shape', Shape)]
    _fields_ += [(name, ctypes.c_int64) for name in ('stride', 'near_first', 'far_first')]
    _fields_ += [('slope', ctypes.c_float)]
    operands = ('value', 'bias', 'refine', 'adjacency', 'relate', 'relate_bias')
    _fields_ += [(name, FLOATS) for name in operands]
    weights = ('first_shortcut', 'shortcut', 'hidden', 'near', 'far', 'direct')
    _fields_ += [(name, Weight) for name in weights]
    _fields_ += [('pool_scale', FLOATS), ('pool_shift', FLOATS)]


class NativeBlock:
    """Calls the kernel with a folded block's weights.

    Args:
        folded (FoldedBlock): In float32.
        slope (float): Of the LeakyReLUs.
    """

    def __init__(self, folded, slope: float) -> None:
        tcn, gcn = folded.tcn, folded.gcn
        width = 4 * tcn.quarter
        self.kept: list[Tensor] = []
        block = self.block = Block(stride=tcn.stride, slope=slope)
        block.near_first, block.far_first = tcn.near.taps()[0], tcn.far.taps()[0]
        block.hidden, block.direct = self._weight(*folded.hidden), self._weight(*folded.direct)
        block.near, block.far = self._weight(*folded.near), self._weight(*folded.far)
        block.pool_scale, block.pool_shift = map(self._keep, folded.pool)
        if folded.first is not None:
            block.shape = Shape(G=1, C=width, O=width)
            return
        value, bias, refine, relate, relate_bias = folded.operands
        operands = (value, bias, refine, folded.adjacency, relate, relate_bias)
        for name, operand in zip(Block.operands, operands, strict=True):
            setattr(block, name, self._keep(operand))
        groups, rows, channels = value.shape
        subsets = gcn.num_subsets
        depth = relate.size(1) // (2 * subsets)
        block.shape = Shape(0, groups, channels, rows // subsets, depth, gcn.num_joints, 0)
        if len(folded.gcn_shortcut) > 1:
            block.first_shortcut = self._weight(*folded.gcn_shortcut)
        else:
            block.first_shortcut.bias = self._keep(folded.gcn_shortcut[0])
        if folded.shortcut is not None:
            block.shortcut = self._weight(*folded.shortcut)

    @staticmethod
    def can_take(folded) -> bool:
        """Whether the kernel is written for such a block: three subsets, strides 1 and 2."""
        subsets = 3 if folded.first is not None else folded.gcn.num_subsets
        return folded.dtype == torch.float32 and subsets == 3 and folded.tcn.stride <= 2

    def fits(self, x: Tensor) -> bool:
        """Whether the input has the block's channels and joints."""
        shape = self.block.shape
        return x.size(1) == shape.G * shape.C and shape.V in (0, x.size(2))

    def __call__(self, kernel, x: Tensor) -> Tensor:
        """``(P, C, V, T)`` -> ``(P, O, V, ceil(T / stride))``."""
        block = Block.from_buffer_copy(self.block)  # other threads may call as well
        shape = block.shape
        shape.P, _, shape.V, shape.T = x.shape
        y = x.new_empty(shape.P, shape.G * shape.O, shape.V, -(-shape.T // block.stride))
        kernel(ctypes.byref(block), pointer(x), pointer(y))
        return y

    def _keep(self, x: Tensor) -> int:
        self.kept.append(x.detach().contiguous())
        return self.kept[-1].data_ptr()

    def _weight(self, weight: Tensor, bias: Tensor) -> Weight:
        """Of a grouped ``(G, O, C)``, plain ``(1, O, C)`` or temporal weight ``(O, C, 1, J)``."""
        weight = weight.squeeze(2)[None] if weight.dim() == 4 else weight[..., None]
        groups, rows, depth, taps = weight.shape
        more = -rows % LANES
        packed = F.pad(weight, (0, 0, 0, 0, 0, more)).unflatten(1, (-1, LANES))
        packed = packed.permute(0, 1, 3, 4, 2)  # group, block, depth, tap, lane
        bias = F.pad(bias.view(groups, rows), (0, more))
        return Weight(self._keep(packed), self._keep(bias), rows, depth, taps)
