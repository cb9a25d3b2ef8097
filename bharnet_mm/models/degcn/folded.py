"""DeGCN's blocks at inference: everything that depends on parameters alone is computed once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...ops import native
from ...ops.native.block import NativeBlock
from ...ops.norm_act import NEGATIVE_SLOPE, folded
from ...ops.refined_graph import aggregate_
from .layers import Residual, pointwise
from .temporal import max_of_three


class FoldedBlock:
    """A :class:`DeGCNBlock` that uses its running statistics: every batch norm folded into the product before
    it, kernels composed, weights joined, sums formed in place.

    Args:
        block (DeGCNBlock): Is only read.
        dtype (torch.dtype): Of the products.
    """

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        self.gcn, self.tcn, self.dtype = block.gcn, block.tcn, dtype
        scale, shift = folded(block.gcn.norm)
        if block.gcn_residual is None:
            self.first = self._cast(*block.gcn.operands(scale, shift))
        else:
            self.first = None
            self.gcn_shortcut = self._shortcut(block.gcn_residual, shift)
            self.shortcut = self._shortcut(block.residual, None)
            value, bias, *rest = block.gcn.operands()
            scale = scale.view(len(bias), -1, 1).expand(-1, -1, block.gcn.num_subsets).flatten(1)
            self.operands = self._cast(value * scale[..., None], bias * scale, *rest)
            self.adjacency = block.gcn.adjacency.to(dtype)
        self._fold_branches(block.tcn)
        self.native: NativeBlock | None = None

    def _cast(self, *tensors: Tensor) -> list[Tensor]:
        return [t.to(self.dtype).contiguous() for t in tensors]

    def _shortcut(self, residual: Residual, shift: Tensor | None) -> list[Tensor] | None:
        """Weight and bias of a projected shortcut, or the shift ``(C, 1, 1)`` of an identity."""
        if residual.project is None:
            return None if shift is None else self._cast(shift.view(-1, 1, 1))
        project, norm = residual.project
        scale, own = folded(norm)
        weight = project.weight * scale.view(project.groups, -1, 1)
        return self._cast(weight, own if shift is None else own + shift)

    def _fold_branches(self, tcn: nn.Module) -> None:
        q = tcn.quarter
        scale, shift = folded(tcn.reduce_norm)
        out_scale, out_shift = (t.split(q) for t in folded(tcn.norm))
        weight = tcn.reduce.weight
        self.hidden = self._cast(weight[:, : 3 * q] * scale[:, None], shift)
        self.direct = self._cast(weight[:, 3 * q :] * out_scale[3][:, None], out_shift[3])
        self.pool = self._cast(out_scale[2].view(-1, 1, 1), out_shift[2].view(-1, 1, 1))
        self.near, self.far = (
            self._cast(conv.kernel() * out_scale[i].view(-1, 1, 1, 1), out_shift[i])
            for i, conv in enumerate((tcn.near, tcn.far))
        )

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype).contiguous()
        if torch.is_autocast_enabled(x.device.type) and not torch.compiler.is_compiling():
            with torch.autocast(x.device.type, enabled=False):  # the types are chosen already
                return self._forward(x)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        y = x if self.first is None else self.gcn.mix(x, *self.first)
        if NativeBlock.can_take(self):
            kernels = native.kernels('folded_block', y)
            if kernels is not None:
                self.native = self.native or NativeBlock(self, NEGATIVE_SLOPE)
                if self.native.fits(y):
                    return self.native(kernels[0], y)
        if self.first is not None:
            return F.leaky_relu_(self._branches(y), NEGATIVE_SLOPE)
        if len(self.gcn_shortcut) > 1:
            y = pointwise(x, *self.gcn_shortcut)
        else:
            y = x + self.gcn_shortcut[0]
        query, key = self.gcn.relate(x, *self.operands[3:])
        y = aggregate_(y, x, *self.operands[:3], query, key, self.adjacency)
        y = self._branches(y)
        stride = self.tcn.stride
        y += x if self.shortcut is None else pointwise(x[..., ::stride], *self.shortcut)
        return F.leaky_relu_(y, NEGATIVE_SLOPE)

    def _branches(self, x: Tensor) -> Tensor:
        x, stride = F.leaky_relu_(x, NEGATIVE_SLOPE), self.tcn.stride
        hidden = F.leaky_relu_(pointwise(x, *self.hidden), NEGATIVE_SLOPE)
        near, far, pool = hidden.split(self.tcn.quarter, dim=1)
        return torch.cat(
            (
                self.tcn.near.convolve(near, *self.near),
                self.tcn.far.convolve(far, *self.far),
                max_of_three(pool, stride).mul_(self.pool[0]).add_(self.pool[1]),
                pointwise(x[..., ::stride], *self.direct),
            ),
            dim=1,
        )
