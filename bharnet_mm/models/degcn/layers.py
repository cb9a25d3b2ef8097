"""Layers shared by the graph and temporal operators.

All features are channel-first with time last, ``(P, C, V, T)``: ``P`` instances (one person's body
or one hand each), ``C`` channels, ``V`` joints, ``T`` frames. With time last, both a 1x1
convolution and the product with a per-channel adjacency are batched matrix products on contiguous
memory, without a transpose in between.
"""

import math

import torch
from torch import Tensor, nn

from ...ops.norm_act import NEGATIVE_SLOPE, norm_act
from ...ops.pointwise import pointwise


def norm_operands(norm: nn.Module) -> list[Tensor]:
    """Weight, bias, running mean and variance of a batch norm."""
    return [norm.weight, norm.bias, norm.running_mean, norm.running_var]


class Pointwise(nn.Module):
    """Grouped 1x1 convolution, see :func:`.ops.pointwise.pointwise`.

    Args:
        in_channels (int): ``C``.
        out_channels (int): ``O``.
        groups (int): ``G``; divides both. Defaults to 1.
        bias (bool): Whether to add a learned bias. Defaults to False, since a batch norm follows in
            most places.

    Shapes:
        ``(P, C, *)`` → ``(P, O, *)``.
    """

    def __init__(
        self, in_channels: int, out_channels: int, groups: int = 1, bias: bool = False
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.weight = nn.Parameter(
            torch.empty(groups, out_channels // groups, in_channels // groups)
        )
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights (Kaiming, fan-out, for the leaky slope)."""
        # The fan-out of a 1x1 kernel is its number of outputs per group.
        gain = math.sqrt(2.0 / (1 + NEGATIVE_SLOPE**2))
        nn.init.normal_(self.weight, std=gain / math.sqrt(self.weight.size(1)))

    def forward(self, x: Tensor, stride: int = 1) -> Tensor:
        """``(P, C, *, T)`` → ``(P, O, *, ceil(T / stride))``."""
        return pointwise(x, self.weight, self.bias, stride)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of the arguments."""
        bias = self.bias is not None
        return f'{self.in_channels}, {self.out_channels}, groups={self.groups}, {bias=}'


class Residual(nn.Module):
    """Shortcut of a block: identity, or a strided grouped 1x1 convolution and batch norm if the
    shape changes.

    Args:
        in_channels (int): Channels in.
        out_channels (int): Channels out.
        stride (int): Stride along time. Defaults to 1.
        groups (int): Groups of the 1x1 convolution. Defaults to 1.

    Shapes:
        ``(P, C, V, T)`` → ``(P, O, V, ceil(T / stride))``.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.stride = stride
        self.project = None
        if in_channels != out_channels or stride != 1:
            self.project = nn.Sequential(
                Pointwise(in_channels, out_channels, groups), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """``(P, C, V, T)`` → ``(P, O, V, ceil(T / stride))``; ``rows`` as in :func:`.norm_act`."""
        if self.project is None:
            return x
        project, norm = self.project
        return norm_act(norm, project(x, self.stride), act=False, rows=rows)

    def operands(self) -> list[Tensor]:
        """Weight and norm of a projection; none for an identity."""
        if self.project is None:
            return []
        project, norm = self.project
        return [project.weight, *norm_operands(norm)]
