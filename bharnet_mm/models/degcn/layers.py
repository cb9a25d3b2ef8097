"""Layers shared by the graph and temporal operators.

All features are channel-first with time last, ``(P, C, V, T)``: ``P`` instances (one person's body
or one hand each), ``C`` channels,
``V`` joints, ``T`` frames. With time last, both a 1x1 convolution and the product with a
per-channel adjacency are batched matrix products on contiguous memory, without a transpose in
between.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...ops.norm_act import NEGATIVE_SLOPE, norm_act


def activation() -> nn.Module:
    """DeGCN's non-linearity, LeakyReLU with slope 0.1."""
    return nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Grouped 1x1 convolution as one batched product: ``(P, C, *)``, weight ``(G, O/G, C/G)``, bias
    ``(O,)`` → ``(P, O, *)``.
    """
    size, trailing = x.size(0), x.shape[2:]
    groups, rows, depth = weight.shape
    # torch's batched product takes no broadcast batch, but for one that is expanded whole.
    weight = weight.repeat(size, 1, 1) if groups > 1 else weight.expand(size, -1, -1)
    y = torch.bmm(weight, x.reshape(size * groups, depth, math.prod(trailing)))
    y = y.view(size, groups * rows, *trailing)
    # Added in place: as the operand of a product it would be copied to the full size first.
    return y if bias is None else y.add_(bias.to(y.dtype).view(-1, *[1] * len(trailing)))


def plain_pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """:func:`pointwise` by the framework's convolution. For tests and benchmarks."""
    y = F.conv1d(x.flatten(2), weight.flatten(0, 1)[..., None], bias, groups=weight.size(0))
    return y.view(*y.shape[:2], *x.shape[2:])


class Pointwise(nn.Module):
    """Grouped 1x1 convolution as one batched matrix product.

    ``y[p, g·O/G + o, s] = sum_c W[g, o, c] x[p, g·C/G + c, s]`` for group ``g`` of ``G`` and any
    number of trailing axes ``s``. On a CPU this is 2 to 8 times faster than ``conv2d`` with a 1x1
    kernel on the sizes of a skeleton network, most with groups.

    Args:
        in_channels (int): ``C``.
        out_channels (int): ``O``.
        groups (int): ``G``; divides both. Defaults to 1.
        bias (bool): Whether to add a learned bias. Defaults to False, since a batch norm follows
            nearly everywhere.

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
        # Kaiming, fan-out, for the leaky slope: fan-out of a 1x1 kernel is its number of outputs
        # per group.
        gain = math.sqrt(2.0 / (1 + NEGATIVE_SLOPE**2))
        nn.init.normal_(self.weight, std=gain / math.sqrt(self.weight.size(1)))

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(x, self.weight, self.bias)

    def plain_forward(self, x: Tensor) -> Tensor:
        return plain_pointwise(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f'{self.in_channels}, {self.out_channels}, groups={self.groups}, {bias=}'


class Residual(nn.Module):
    """Shortcut of a block: identity, or a strided grouped 1x1 convolution and batch norm where the
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

    def forward(self, x: Tensor) -> Tensor:
        if self.project is None:
            return x
        x, (project, norm) = x[..., :: self.stride], self.project
        return norm_act(norm, project(x), act=False)

    def plain_forward(self, x: Tensor) -> Tensor:
        """The batch norm by itself. For tests and benchmarks."""
        return x if self.project is None else self.project(x[..., :: self.stride])
