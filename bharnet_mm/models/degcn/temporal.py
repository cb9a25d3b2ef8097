"""Temporal operators: deformable temporal convolution and DeGCN's four-branch temporal module."""

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...ops.norm_act import norm_act
from ...ops.temporal import deformable, temporal_branches
from .layers import Pointwise, norm_operands


class DeformableTemporalConv(nn.Module):
    r"""Temporal convolution that samples at learned real offsets (DeGCN's "DeTGC", Myung et al.,
    TIP 2024).

    .. math:: y_{o,v,t} = \sum_{r=1}^{\eta} \sum_c W_{o,c,r}\; x_{c,v}(\mathrm{stride}\cdot t +
    \tau_r)

    where :math:`x(\cdot)` interpolates linearly between frames and repeats the first and last one.
    The offsets :math:`\tau_r` are shared by channels, joints and clips, and limited to the clip,
    see :mod:`.ops.temporal`.

    Args:
        channels (int): Channels in and out.
        reach (float): Offsets start evenly spaced in ``[-reach, reach]``.
        num_samples (int): ``eta``. Defaults to 4.
        stride (int): Defaults to 1.

    Shapes:
        ``(P, C, V, T)`` → ``(P, C, V, ceil(T / stride))``.

    Raises:
        ConfigError: If loaded offsets are not finite.
    """

    def __init__(self, channels: int, reach: float, num_samples: int = 4, stride: int = 1) -> None:
        super().__init__()
        self.channels, self.num_samples, self.stride = channels, num_samples, stride
        self.offset = nn.Parameter(torch.linspace(-reach, reach, num_samples))
        self.weight = nn.Parameter(torch.empty(channels, channels, num_samples))
        # fan-out of a kernel with num_samples taps
        nn.init.kaiming_normal_(self.weight, a=0.1, mode='fan_out', nonlinearity='leaky_relu')

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        offset = state_dict.get(f'{prefix}offset')
        if offset is not None and not bool(torch.isfinite(offset).all()):
            raise ConfigError(
                f'checkpoint, {prefix}offset',
                f'{offset.tolist()}',
                'finite numbers of frames',
                'take an earlier checkpoint, and train with a smaller learning rate',
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """``(P, C, V, T)`` → ``(P, C, V, ceil(T / stride))``."""
        return deformable(x, self.weight, self.offset, self.stride)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of the arguments."""
        return f'{self.channels}, num_samples={self.num_samples}, stride={self.stride}'


class MultiBranchTemporal(nn.Module):
    """DeGCN's temporal module: four branches of a quarter of the channels each, concatenated.

    Two deformable convolutions (reach 2 and 4), a max-pooling of three frames, and a plain 1x1.
    Each starts with a 1x1 convolution (one product for all four); batch norm and LeakyReLU follow
    in the first three, and each branch ends with a batch norm.

    Args:
        channels (int): Channels in and out; a multiple of 4.
        stride (int): Stride along time. Defaults to 1.
        num_samples (int): Samples of a deformable convolution. Defaults to 4.
        reach (tuple[float, float]): Initial reach of the two in frames. Defaults to (2, 4).

    Shapes:
        ``(P, C, V, T)`` → ``(P, C, V, ceil(T / stride))``.
    """

    def __init__(
        self,
        channels: int,
        stride: int = 1,
        num_samples: int = 4,
        reach: tuple[float, float] = (2.0, 4.0),
    ) -> None:
        super().__init__()
        self.stride = stride
        quarter = channels // 4
        self.reduce = Pointwise(channels, channels)
        self.reduce_norm = nn.BatchNorm2d(3 * quarter)
        self.near = DeformableTemporalConv(quarter, reach[0], num_samples, stride)
        self.far = DeformableTemporalConv(quarter, reach[1], num_samples, stride)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """``(P, C, V, T)`` → ``(P, C, V, ceil(T / stride))``; ``rows`` as in :func:`.norm_act`."""
        return norm_act(self.norm, self.branches(x, rows), act=False, rows=rows)

    def branches(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """The branches, concatenated, before their last batch norm; shapes of :meth:`forward`."""
        near, far = self.near, self.far
        weights = self.reduce.weight, near.weight, near.offset, far.weight, far.offset
        return temporal_branches(self.reduce_norm, x, *weights, self.stride, rows)

    def operands(self) -> list[Tensor]:
        """Parameters and statistics, as :func:`.inference_block` takes them."""
        return [
            self.reduce.weight,
            *norm_operands(self.reduce_norm),
            self.near.weight,
            self.near.offset,
            self.far.weight,
            self.far.offset,
            *norm_operands(self.norm),
        ]
