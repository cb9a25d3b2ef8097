r"""DeGCN's four temporal branches after their common 1x1 convolution, concatenated.

Of ``u (P, 4Q, V, T)`` the first three quarters are normalised, ``h = leaky_relu(norm(u))``; the
branches are

.. math::
    z^{near,far}_{o,v,t} = \sum_r \sum_c W_{o,c,r}\, h_{c,v}(\mathrm{stride}\cdot t + \tau_r),\quad
    z^{pool}_{c,v,t} = \max_{i \in \{-1,0,1\}} h_{c,v,\mathrm{stride}\cdot t + i},\quad
    z^{direct}_{c,v,t} = u_{c,v,\mathrm{stride}\cdot t}

The first two are deformable convolutions ("DeTGC", Myung et al., TIP 2024): :math:`h(\cdot)`
interpolates linearly between frames and repeats the first and last one. The offsets :math:`\tau_r`
are learned and shared by channels, joints and clips. They are limited to the clip: an offset of
more than its ``T`` frames gives the same result as one of ``T``, and has no gradient. An offset of
NaN makes the branch NaN.

With torch's operators, a deformable convolution is one ordinary convolution with a composed kernel,

.. math:: K_{o,c,j} = \sum_r W_{o,c,r} B_{r,j}, \quad
    B_{r,j} = (1 - \phi_r)[j = \lfloor\tau_r\rfloor] + \phi_r [j = \lfloor\tau_r\rfloor + 1],
    \quad \phi_r = \tau_r - \lfloor\tau_r\rfloor.

Its length depends on the offsets, which the host has to read. The kernels for CUDA and in C++
sample the frames instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .native.branches import NativeBranches
from .norm_act import (
    NEGATIVE_SLOPE,
    batch_statistics,
    given,
    given_statistics,
    is_batch_norm,
    keep,
    norm_act,
    norm_backward,
    normalised,
    padded,
    real,
)
from .operator import define, is_plain, wide
from .pointwise import pointwise


def temporal_branches(
    norm: nn.Module,
    x: Tensor,
    weight: Tensor,
    near_weight: Tensor,
    near_offset: Tensor,
    far_weight: Tensor,
    far_offset: Tensor,
    stride: int = 1,
    rows: Tensor | None = None,
) -> Tensor:
    """A 1x1 convolution and the four branches, see the module.

    Args:
        norm (nn.Module): Batch norm of the first three quarters, see :func:`.norm_act.norm_act`.
        x (Tensor): ``(P, C, V, T)``.
        weight (Tensor): ``(1, 4Q, C)`` of the 1x1 convolution, which gives ``u``.
        near_weight (Tensor): ``(Q, Q, eta)`` of the first branch.
        near_offset (Tensor): Offsets of the first branch, in frames.
        far_weight (Tensor): Weight of the second branch.
        far_offset (Tensor): Offsets of the second branch.
        stride (int): Along time. Defaults to 1.
        rows (Tensor, optional): ``()`` int64, how many instances are real.

    Returns:
        Tensor: ``(P, 4Q, V, ceil(T / stride))``.
    """
    weights = near_weight, near_offset, far_weight, far_offset
    if is_plain() or not is_batch_norm(norm) or x.numel() <= x.size(1):
        hidden, direct = weight.split((3 * len(near_weight), len(near_weight)), dim=1)
        hidden = norm_act(norm, pointwise(x, hidden), rows=rows)
        return branches(hidden, pointwise(x, direct, stride=stride), *weights, stride)
    u = pointwise(x, weight)
    z, stats = OPERATOR(
        u, norm.weight, norm.bias, *given(norm), *weights, rows, norm.eps, stride, NEGATIVE_SLOPE
    )
    keep(norm, stats, rows)
    return z


def branches(
    hidden: Tensor,
    direct: Tensor,
    near_weight: Tensor,
    near_offset: Tensor,
    far_weight: Tensor,
    far_offset: Tensor,
    stride: int,
) -> Tensor:
    """The reference after the norm: branches of ``hidden (P, 3Q, V, T)`` and ``direct (P, Q, V,
    T')``.
    """
    near, far, pool = hidden.chunk(3, dim=1)
    return torch.cat(
        (
            deformable(near, near_weight, near_offset, stride),
            deformable(far, far_weight, far_offset, stride),
            F.max_pool2d(pool, (1, 3), (1, stride), (0, 1)),
            direct,
        ),
        dim=1,
    )


def deformable(x: Tensor, weight: Tensor, offset: Tensor, stride: int = 1) -> Tensor:
    """The reference of a deformable convolution: interpolate at every offset, mix the samples.

    Shapes: x ``(P, Q, V, T)``, weight ``(Q, Q, eta)``, offset ``(eta,)``.
    """
    frames = x.size(-1)
    start = torch.arange(0, frames, stride, device=x.device)
    offset = offset.clamp(-frames, frames)
    floor = offset.detach().floor()
    fraction = (offset - floor)[:, None]
    lower = start + floor.nan_to_num().long()[:, None]  # (eta, T')
    before = x[..., lower.clamp(0, frames - 1)]  # (P, C, V, eta, T')
    after = x[..., (lower + 1).clamp(0, frames - 1)]
    samples = before * (1 - fraction) + after * fraction
    return torch.einsum('ocr,pcvrt->povt', weight, samples.to(weight.dtype))


def reference(
    u: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    near_weight: Tensor,
    near_offset: Tensor,
    far_weight: Tensor,
    far_offset: Tensor,
    eps: float,
    stride: int,
    slope: float,
) -> Tensor:
    """The operator's output with torch's operators."""
    hidden = u[:, : len(weight)]
    hidden = F.batch_norm(hidden, mean, variance, weight, bias, training=mean is None, eps=eps)
    hidden, weights = F.leaky_relu(hidden, slope), (near_weight, near_offset, far_weight)
    direct = u[:, len(weight) :, :, ::stride]
    return branches(hidden, direct, *weights, far_offset, stride)


@dataclass
class Composed:
    """A composed kernel and the frames that it reads.

    Args:
        weight (Tensor): ``(Q, Q, eta)``.
        offset (Tensor): ``(eta,)``.
        frames (int): ``T`` of the features.
        stride (int): Along time.
    """

    weight: Tensor
    offset: Tensor
    frames: int
    stride: int

    def __post_init__(self) -> None:
        bounded = self.offset.clamp(-self.frames, self.frames)
        floor = bounded.floor()
        whole = floor.nan_to_num()
        self.first = int(whole.min())
        last = int(whole.max()) + 1  # read even if the offset is whole, since the gradient needs it
        self.end = (self.frames - 1) // self.stride * self.stride + last
        frame = torch.arange(self.first, last + 1, device=floor.device, dtype=floor.dtype)
        self.at_floor = (frame == whole[:, None]).to(floor.dtype)
        self.at_next = (frame == whole[:, None] + 1).to(floor.dtype)
        fraction = (bounded - floor)[:, None]
        self.spread = self.at_floor * (1 - fraction) + self.at_next * fraction
        #: ``(Q, Q, 1, J)`` over the frames ``first .. last``.
        self.kernel = (self.weight @ self.spread).unsqueeze(2)
        # The numbers of the frames first .. end before the clip, in it and after it.
        length = self.end - self.first + 1
        self.before = min(max(-self.first, 0), length)
        self.inside = slice(max(self.first, 0), max(min(self.end, self.frames - 1) + 1, 0))
        inside = max(self.inside.stop - self.inside.start, 0)
        self.behind = length - self.before - inside

    def pad(self, x: Tensor) -> Tensor:
        """Frames ``first .. end`` of ``x`` with its ends repeated."""
        parts = [x[..., self.inside]]
        if self.before:
            parts.insert(0, x[..., :1].expand(*x.shape[:-1], self.before))
        if self.behind:
            parts.append(x[..., -1:].expand(*x.shape[:-1], self.behind))
        return torch.cat(parts, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution, ``(P, Q, V, T)`` → ``(P, Q, V, ceil(T / stride))``."""
        return F.conv2d(self.pad(x), self.kernel.to(x.dtype), stride=(1, self.stride))

    def backward(self, grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients to x, weight and offset."""
        grad_padded, grad_kernel, _ = torch.ops.aten.convolution_backward(
            grad.contiguous(),
            self.pad(x),
            self.kernel.to(x.dtype),
            None,
            (1, self.stride),
            (0, 0),
            (1, 1),
            False,
            (0, 0),
            1,
            (True, True, False),
        )
        inside = grad_padded.size(-1) - self.before - self.behind
        before, middle, behind = grad_padded.split((self.before, inside, self.behind), dim=-1)
        grad_x = torch.zeros_like(x)
        grad_x[..., self.inside] = middle
        grad_x[..., 0] += before.sum(-1)
        grad_x[..., -1] += behind.sum(-1)
        grad_kernel = grad_kernel.squeeze(2).to(self.weight.dtype)
        taps = torch.einsum('ocr,ocj->rj', self.weight, grad_kernel)
        grad_offset = ((self.at_next - self.at_floor) * taps).sum(1)
        grad_offset = grad_offset * (self.offset.abs() < self.frames)
        return grad_x, grad_kernel @ self.spread.t(), grad_offset


def max_of_three(x: Tensor, stride: int) -> Tensor:
    """Maximum over each frame and its neighbours at every ``stride``-th frame, ``(*, T)`` → ``(*,
    ceil(T / stride))``: the result of ``max_pool2d`` in a tenth of its time on a CPU, on which
    pooling along one axis is not vectorised.
    """
    wide_x = torch.cat((x[..., :1], x, x[..., -1:]), dim=-1)
    end = x.size(-1)
    before, here, after = (wide_x[..., i : i + end : stride] for i in range(3))
    return torch.maximum(torch.maximum(before, here), after)


def max_of_three_backward(grad: Tensor, x: Tensor, y: Tensor, stride: int) -> Tensor:
    """Gradient of :func:`max_of_three`: to the frame itself if it is the largest, otherwise to the
    one before, otherwise to the one after.
    """
    if stride > 1:  # as if the frames between were removed after stride 1
        full = torch.full_like(x, float('inf'))
        full[..., ::stride] = y
        dense = torch.zeros_like(x)
        dense[..., ::stride] = grad
        y, grad = full, dense

    # threshold_backward passes its gradient if a value is above the threshold. This is one pass,
    # whereas a mask needs several.
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
    return grad_x


def _temporal_branches(
    u: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    near_weight: Tensor,
    near_offset: Tensor,
    far_weight: Tensor,
    far_offset: Tensor,
    rows: Tensor | None,
    eps: float,
    stride: int,
    slope: float,
) -> tuple[Tensor, Tensor]:
    size, (u,) = len(u), real(rows, u)
    parameters = [weight, bias, near_weight, near_offset, far_weight, far_offset]
    if NativeBranches.can_take(u, parameters, stride):
        native = NativeBranches(u, parameters, stride, slope)
        if mean is None:
            stats = native.statistics(eps)
        else:
            stats = given_statistics(mean, variance, eps)
        return padded(native.forward(stats), size), stats
    hidden = u[:, : len(weight)]
    if mean is None:
        stats = batch_statistics(hidden, eps)
    else:
        stats = given_statistics(mean, variance, eps)
    hidden = F.leaky_relu_(normalised(hidden, stats, weight, bias), slope)
    near, far, pool = hidden.chunk(3, dim=1)
    frames = u.size(-1)
    z = torch.cat(
        (
            Composed(near_weight, near_offset, frames, stride).forward(near),
            Composed(far_weight, far_offset, frames, stride).forward(far),
            max_of_three(pool, stride),
            u[:, len(weight) :, :, ::stride],
        ),
        dim=1,
    )
    return padded(z, size), stats


def _fake(u, weight, bias, mean, variance, nw, no, fw, fo, rows, eps, stride, slope):
    z = u.new_empty(*u.shape[:3], (u.size(3) + stride - 1) // stride)
    return z, weight.new_empty(3, weight.size(0), dtype=wide(u.dtype))


def _temporal_branches_backward(
    grad: Tensor,
    u: Tensor,
    stats: Tensor,
    weight: Tensor,
    bias: Tensor,
    near_weight: Tensor,
    near_offset: Tensor,
    far_weight: Tensor,
    far_offset: Tensor,
    rows: Tensor | None,
    by_batch: bool,
    stride: int,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    size, (grad, u) = len(u), real(rows, grad, u)
    parameters = [weight, bias, near_weight, near_offset, far_weight, far_offset]
    if NativeBranches.can_take(u, parameters, stride):
        native = NativeBranches(u, parameters, stride, slope)
        grad_u, *grads = native.backward(grad, stats, by_batch)
        return padded(grad_u, size), *grads
    before = u[:, : len(weight)]
    hidden = F.leaky_relu_(normalised(before, stats, weight, bias), slope)
    near, far, pool = hidden.chunk(3, dim=1)
    grads = grad.chunk(4, dim=1)
    frames = u.size(-1)
    grad_near, *near_grads = Composed(near_weight, near_offset, frames, stride).backward(
        grads[0], near
    )
    grad_far, *far_grads = Composed(far_weight, far_offset, frames, stride).backward(grads[1], far)
    grad_pool = max_of_three_backward(grads[2], pool, max_of_three(pool, stride), stride)
    grad_hidden = torch.cat((grad_near, grad_far, grad_pool), dim=1)
    grad_hidden = torch.ops.aten.leaky_relu_backward(grad_hidden, hidden, slope, True)
    grad_before, *norm_grads = norm_backward(grad_hidden, before, weight, stats, by_batch)
    grad_direct = grads[3]
    if stride > 1:
        grad_direct = torch.zeros_like(u[:, len(weight) :])
        grad_direct[..., ::stride] = grads[3]
    grad_u = torch.cat((grad_before, grad_direct), dim=1)
    return padded(grad_u, size), *norm_grads, *near_grads, *far_grads


def _fake_backward(grad, u, stats, weight, bias, nw, no, fw, fo, rows, by_batch, stride, slope):
    grad_u = torch.empty_like(u, memory_format=torch.contiguous_format)
    return grad_u, *map(torch.empty_like, (weight, bias, nw, no, fw, fo))


def _setup_context(ctx, inputs, output) -> None:
    u, weight, bias, mean, _, *weights, rows, _, ctx.stride, ctx.slope = inputs
    stats = output[1]
    ctx.by_batch = mean is None
    ctx.save_for_backward(u, stats, weight, bias, *weights, rows)
    ctx.mark_non_differentiable(stats)
    ctx.set_materialize_grads(False)


def _backward(ctx, grad: Tensor, _):
    if grad is None:
        return (None,) * 13
    grads = BACKWARD(grad, *ctx.saved_tensors, ctx.by_batch, ctx.stride, ctx.slope)
    return *grads[:3], None, None, *grads[3:], *(None,) * 4


BACKWARD = define(_temporal_branches_backward, _fake_backward)
OPERATOR = define(_temporal_branches, _fake, _setup_context, _backward, features=['u'])
