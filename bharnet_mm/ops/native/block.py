"""A folded block for the native kernel, with its weights in the order in which the kernel reads
them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from . import pointer

LANES = 16  # as in vec.h
FLOATS = ctypes.c_void_p


class Shape(ctypes.Structure):
    """Instances, groups, a group's channels in, out and of a subset's relation, joints, frames."""

    _fields_ = [(name, ctypes.c_int64) for name in 'PGCORVT']


class Weight(ctypes.Structure):
    """``Weight`` of folded.cpp: rows in groups of sixteen, filled with zeros."""

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
        folded (Folded): In float32, see :mod:`..inference_block`.
        compose (Callable): Takes a branch of ``folded`` and a number of frames, gives its composed
            kernel ``(Q, Q, 1, J)`` and the first frame that it reads.
        stride (int): Along time.
        slope (float): Of the LeakyReLUs.
    """

    def __init__(self, folded, compose: Callable, stride: int, slope: float) -> None:
        width = folded.hidden[0].size(2)
        self.kept: list[Tensor] = []
        self.folded, self.compose = folded, compose
        self.deformable: dict[int, tuple] = {}
        block = self.block = Block(stride=stride, slope=slope)
        block.hidden, block.direct = self._weight(*folded.hidden), self._weight(*folded.direct)
        block.pool_scale, block.pool_shift = map(self._keep, folded.pool)
        if folded.is_first:
            block.shape = Shape(G=1, C=width, O=width)
            return
        operands = folded.packed()
        for name, operand in zip(Block.operands, operands, strict=True):
            setattr(block, name, self._keep(operand))
        groups, rows, channels = operands[0].shape
        subsets, joints = folded.graph[9].shape[:2]
        depth = operands[4].size(1) // (2 * subsets)
        block.shape = Shape(0, groups, channels, rows // subsets, depth, joints, 0)
        if len(folded.first_shortcut) > 1:
            block.first_shortcut = self._weight(*folded.first_shortcut)
        else:
            block.first_shortcut.bias = self._keep(folded.first_shortcut[0])
        if folded.shortcut:
            block.shortcut = self._weight(*folded.shortcut)

    @staticmethod
    def can_take(folded, stride: int) -> bool:
        """Whether the kernel supports the block: three subsets, strides 1 and 2."""
        return (folded.is_first or len(folded.graph[9]) == 3) and stride <= 2

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
        if shape.T not in self.deformable:  # offsets are bounded to the clip
            branches = [
                (self.compose(b, shape.T), b[2]) for b in (self.folded.near, self.folded.far)
            ]
            self.deformable[shape.T] = tuple(
                (self._weight(kernel, bias), first) for (kernel, first), bias in branches
            )
        (block.near, block.near_first), (block.far, block.far_first) = self.deformable[shape.T]
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
