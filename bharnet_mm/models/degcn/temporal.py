"""Temporal operators: deformable temporal convolution and DeGCN's four-branch temporal module."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...ops.norm_act import norm_act
from .layers import Pointwise, activation, plain_pointwise, pointwise


class DeformableTemporalConv(nn.Module):
    r"""Temporal convolution that samples at learned real offsets (DeGCN's "DeTGC", Myung et al.,
    TIP 2024).

    .. math:: y_{o,v,t} = \sum_{r=1}^{\eta} \sum_c W_{o,c,r}\; x_{c,v}(\mathrm{stride}\cdot t +
    \tau_r)

    where :math:`x(\cdot)` interpolates linearly between frames and repeats the first and last one.
    The offsets :math:`\tau_r` are shared by channels, joints and clips, hence the sum equals **one
    ordinary convolution whose kernel is composed on the fly**,

    .. math:: K_{o,c,j} = \sum_r W_{o,c,r} B_{r,j}, \quad
        B_{r,j} = (1 - \phi_r)[j = \lfloor\tau_r\rfloor] + \phi_r [j = \lfloor\tau_r\rfloor + 1],
        \quad \phi_r = \tau_r - \lfloor\tau_r\rfloor,

    with the same gradients, offsets included. :meth:`plain_forward` is the gather form.

    Args:
        channels (int): Channels in and out.
        reach (float): Offsets start evenly spaced in ``[-reach, reach]``.
        num_samples (int): ``eta``. Defaults to 4.
        stride (int): Defaults to 1.

    Shapes:
        ``(P, C, V, T)`` → ``(P, C, V, ceil(T / stride))``.
    """

    def __init__(self, channels: int, reach: float, num_samples: int = 4, stride: int = 1) -> None:
        super().__init__()
        self.channels, self.num_samples, self.stride = channels, num_samples, stride
        self.offset = nn.Parameter(torch.linspace(-reach, reach, num_samples))
        self.weight = nn.Parameter(torch.empty(channels, channels, num_samples))
        # fan-out of a kernel with num_samples taps
        nn.init.kaiming_normal_(self.weight, a=0.1, mode='fan_out', nonlinearity='leaky_relu')
        self._taps: tuple[int, int] | None = None
        self._taps_version: tuple[int, int] | None = None

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._taps_version = None

    def taps(self) -> tuple[int, int]:
        """First and last frame offset that the composed kernel covers, as integers on the host."""
        if not torch.compiler.is_compiling() and self._taps_version != self._offset_state():
            refresh_taps([self])
        return self._taps

    def _offset_state(self) -> tuple[int, int]:
        # An optimizer's step and load_state_dict raise the version; `.to()` and `.data =` change
        # the storage.
        return self.offset._version, self.offset.data_ptr()

    def kernel(self) -> Tensor:
        """The composed kernel ``(C, C, 1, J)`` over the frames ``taps()[0] .. taps()[1]``."""
        first, last = self.taps()
        floor = self.offset.detach().floor()
        fraction = self.offset - floor
        frame = torch.arange(first, last + 1, device=floor.device, dtype=floor.dtype)
        at_floor = (frame == floor[:, None]).to(fraction.dtype)
        at_next = (frame == floor[:, None] + 1).to(fraction.dtype)
        spread = at_floor * (1 - fraction)[:, None] + at_next * fraction[:, None]
        return (self.weight @ spread).unsqueeze(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.kernel().to(x.dtype))

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        """Convolution with a composed kernel."""
        return F.conv2d(self._pad(x, *self.taps()), kernel, bias, stride=(1, self.stride))

    def _pad(self, x: Tensor, first: int, last: int) -> Tensor:
        """Frames ``first .. stride·(T'-1) + last`` of ``x`` with its ends repeated."""
        frames = x.size(-1)
        end = (frames - 1) // self.stride * self.stride + last  # the last frame that is read
        if first >= frames or end < 0:  # all offsets point past one end of the clip
            edge = x[..., -1:] if first >= frames else x[..., :1]
            return edge.expand(*x.shape[:-1], end - first + 1)
        # Concatenation, not F.pad: torch.compile miscompiles the backward of replicate padding
        # (torch 2.13, channels last).
        parts = [x[..., max(first, 0) : min(end, frames - 1) + 1]]
        if first < 0:
            parts.insert(0, x[..., :1].expand(*x.shape[:-1], -first))
        if end >= frames:
            parts.append(x[..., -1:].expand(*x.shape[:-1], end - frames + 1))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def plain_forward(self, x: Tensor) -> Tensor:
        """The gather form: interpolate at every offset, stack the samples, mix them with a 1x1. For
        tests and benchmarks.
        """
        frames = x.size(-1)
        start = torch.arange(0, frames, self.stride, device=x.device)
        floor = self.offset.detach().floor()
        fraction = (self.offset - floor)[:, None]
        lower = start + floor.long()[:, None]  # (eta, T')
        before = x[..., lower.clamp(0, frames - 1)]  # (P, C, V, eta, T')
        after = x[..., (lower + 1).clamp(0, frames - 1)]
        samples = before * (1 - fraction) + after * fraction
        return torch.einsum('ocr,pcvrt->povt', self.weight, samples)

    def extra_repr(self) -> str:
        return f'{self.channels}, num_samples={self.num_samples}, stride={self.stride}'


def refresh_taps(convs: Iterable[DeformableTemporalConv]) -> None:
    """Reads the range of every convolution's offsets in one transfer from the device, not one for
    each.

    The range has one frame past the floor of the last offset even where the offset is a whole
    number, since the gradient to the offset needs that frame.
    """
    stale = [conv for conv in convs if conv._taps_version != conv._offset_state()]
    if not stale:
        return
    bounds = torch.stack(
        [torch.stack((c.offset.detach().min(), c.offset.detach().max())) for c in stale]
    ).floor()
    for conv, (low, high) in zip(stale, bounds.tolist(), strict=True):
        conv._taps = (int(low), int(high) + 1)
        conv._taps_version = conv._offset_state()


class MultiBranchTemporal(nn.Module):
    """DeGCN's temporal module: four branches of a quarter of the channels each, concatenated.

    Two deformable convolutions (reach 2 and 4), a max-pooling of three frames, and a plain 1x1.
    Each starts with a 1x1 convolution (one product for all four); batch norm and LeakyReLU follow
    on the first three, and a batch norm ends each branch.

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
        self.quarter = channels // 4
        self.reduce = Pointwise(channels, channels)
        self.reduce_norm = nn.BatchNorm2d(3 * self.quarter)
        self.act = activation()
        self.near = DeformableTemporalConv(self.quarter, reach[0], num_samples, stride)
        self.far = DeformableTemporalConv(self.quarter, reach[1], num_samples, stride)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return norm_act(self.norm, self.branches(x), act=False)

    def branches(self, x: Tensor) -> Tensor:
        """The four branches, concatenated, before their last batch norm."""
        weight = (
            self.reduce.weight[:, : 3 * self.quarter],
            self.reduce.weight[:, 3 * self.quarter :],
        )
        hidden = norm_act(self.reduce_norm, pointwise(x, weight[0]))
        near, far, pool = hidden.split(self.quarter, dim=1)
        direct = pointwise(x[..., :: self.stride], weight[1])
        pool = MaxOfThree.apply(pool, self.stride)
        return torch.cat((self.near(near), self.far(far), pool, direct), dim=1)

    def plain_forward(self, x: Tensor) -> Tensor:
        """Branch by branch, by the framework's operators. For tests and benchmarks."""
        q = self.quarter
        hidden = plain_pointwise(x, self.reduce.weight[:, : 3 * q])
        near, far, pool = self.act(self.reduce_norm(hidden)).split(q, dim=1)
        pool = F.max_pool2d(pool, (1, 3), (1, self.stride), (0, 1))
        direct = plain_pointwise(x[..., :: self.stride], self.reduce.weight[:, 3 * q :])
        return self.norm(torch.cat((self.near(near), self.far(far), pool, direct), dim=1))


def max_of_three(x: Tensor, stride: int) -> Tensor:
    """Maximum over each frame and its neighbours at every ``stride``-th frame, ``(*, T)`` → ``(*,
    ceil(T / stride))``: what ``max_pool2d`` gives, in a tenth of its time on a CPU, where pooling along
    one axis of an image is not vectorised.
    """
    padded = torch.cat((x[..., :1], x, x[..., -1:]), dim=-1)
    end = x.size(-1)
    before, here, after = (padded[..., i : i + end : stride] for i in range(3))
    return torch.maximum(torch.maximum(before, here), after)


class MaxOfThree(torch.autograd.Function):
    """:func:`max_of_three` with a gradient: to the frame itself if it is the largest, else to the one
    before, else to the one after.
    """

    @staticmethod
    def forward(ctx, x: Tensor, stride: int) -> Tensor:
        y = max_of_three(x, stride)
        ctx.stride = stride
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        x, y = ctx.saved_tensors
        if ctx.stride > 1:  # as if the frames between had been left out after stride 1
            full = torch.full_like(x, float('inf'))
            full[..., :: ctx.stride] = y
            dense = torch.zeros_like(x)
            dense[..., :: ctx.stride] = grad
            y, grad = full, dense

        # threshold_backward passes its gradient where a value is above the threshold: one pass,
        # where a mask takes several.
        never = -torch.finfo(x.dtype).tiny
        x, y, grad = x.contiguous(), y.contiguous(), grad.contiguous()
        grad_x = torch.ops.aten.threshold_backward(grad, x - y, never)
        rest = grad - grad_x
        # The neighbours, in the flattened tensors, since slices of the last axis are slow; the first
        # frame of a row has none before.
        flat_x, flat_rest, flat_grad = x.view(-1), rest.view(-1), grad_x.view(-1)
        below = flat_x[:-1] - y.view(-1)[1:]
        below[x.size(-1) - 1 :: x.size(-1)] = -1
        before = torch.ops.aten.threshold_backward(flat_rest[1:], below, never)
        flat_grad[:-1] += before
        flat_rest[1:] -= before
        flat_grad[1:] += flat_rest[:-1]
        return grad_x, None
