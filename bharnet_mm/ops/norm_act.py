"""Batch norm, the sum with a shortcut and LeakyReLU in one operator."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import native
from .operator import define, is_plain, wide

#: Slope of every LeakyReLU in DeGCN.
NEGATIVE_SLOPE = 0.1


def norm_act(
    norm: nn.Module,
    x: Tensor,
    residual: Tensor | None = None,
    act: bool = True,
    rows: Tensor | None = None,
) -> Tensor:
    """``leaky_relu(norm(x) + residual)``; without ``act`` no LeakyReLU.

    In training it updates the running statistics at once. If ``norm.deferred`` is set,
    :func:`track_statistics` updates those of all norms of a network together.

    Args:
        norm (nn.Module): A batch norm, or a module that replaced it (``SyncBatchNorm``), which is
            then called itself.
        x (Tensor): ``(P, C, *)``.
        residual (Tensor, optional): Like ``x``.
        act (bool): Defaults to True.
        rows (Tensor, optional): ``()`` int64, number of instances among the ``P`` rows. The other
            rows are padding: they enter no statistic, and their outputs and gradients are zero.

    Returns:
        Tensor: Like ``x``.
    """
    slope = NEGATIVE_SLOPE if act else 1.0
    if is_plain() or not is_batch_norm(norm) or x.numel() <= x.size(1):
        size, (x, residual) = x.size(0), real(rows, x, residual)
        y = norm(x) if residual is None else norm(x) + residual
        return padded(F.leaky_relu(y, slope) if act else y, size)
    y, stats = OPERATOR(x, residual, norm.weight, norm.bias, *given(norm), rows, norm.eps, slope)
    keep(norm, stats, rows)
    return y


def reference(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    eps: float,
    slope: float,
) -> Tensor:
    """The operator's output by the framework's batch norm."""
    y = F.batch_norm(x, mean, variance, weight, bias, training=mean is None, eps=eps)
    return F.leaky_relu(y if residual is None else y + residual, slope)


def is_batch_norm(norm: nn.Module) -> bool:
    """Whether it is torch's own batch norm, with parameters and running statistics."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return type(norm) in kinds and norm.affine and norm.track_running_stats


def given(norm: nn.Module) -> tuple[Tensor | None, Tensor | None]:
    """The statistics that a batch norm uses; None in training, which takes the batch's."""
    return (None, None) if norm.training else (norm.running_mean, norm.running_var)


def keep(norm: nn.Module, stats: Tensor, rows: Tensor | None = None) -> None:
    """Stores the statistics of a batch and updates the running ones unless that is deferred."""
    if norm.training:
        norm.batch_stats = stats, rows
        if not getattr(norm, 'deferred', False):
            track_statistics([norm])


@torch.no_grad()
def track_statistics(norms: Iterable[nn.Module]) -> None:
    """Updates the running statistics of all norms that had a batch since the last call, with few
    operators for all of them.
    """
    updated = [(norm, *norm.batch_stats) for norm in norms if getattr(norm, 'batch_stats', None)]
    groups: dict[tuple, list] = {}
    for norm, stats, rows in updated:
        norm.batch_stats = None
        groups.setdefault((norm.momentum, id(rows)), []).append((norm, stats, rows))
    for (momentum, _), group in groups.items():
        counts = [norm.num_batches_tracked for norm, _, _ in group]
        running = [t for norm, _, _ in group for t in (norm.running_mean, norm.running_var)]
        new = [stats[i].to(norm.running_mean.dtype) for norm, stats, _ in group for i in (0, 2)]
        rows = group[0][2]
        if rows is None and momentum is not None:
            torch._foreach_add_(counts, 1)
            torch._foreach_lerp_(running, new, momentum)
            continue
        # A batch of padding only changes nothing. The weight is a list of tensors, since torch
        # would read the value of a single one from the device.
        some = torch.ones_like(counts[0]) if rows is None else (rows > 0).to(counts[0].dtype)
        torch._foreach_add_(counts, [some] * len(counts))
        # Without momentum the average is over all batches.
        share = 1 / counts[0].clamp(min=1).to(new[0].dtype) if momentum is None else momentum
        mixed = torch.lerp(torch.cat(running), torch.cat(new), (share * some).to(new[0].dtype))
        torch._foreach_copy_(running, mixed.split([t.numel() for t in running]))


def folded(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift ``(C,)`` of a batch norm that uses its running statistics: ``norm(x) =
    scale·x + shift``.
    """
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias


def folds(module: nn.Module) -> bool:
    """Whether batch norms may be folded into the weights before them: at inference."""
    return not module.training and not torch.is_grad_enabled() and not is_plain()


def real(rows: Tensor | None, *tensors: Tensor | None) -> list[Tensor | None]:
    """The tensors without padding."""
    if rows is None:
        return list(tensors)
    return [None if t is None else t[: int(rows)] for t in tensors]


def padded(x: Tensor, size: int) -> Tensor:
    """``(p, *)`` → ``(size, *)`` with zeros."""
    # size(0), not len: an exporter may trace it for any number.
    more = size - x.size(0)
    return torch.cat((x, x.new_zeros(more, *x.shape[1:]))) if more else x


def batch_statistics(x: Tensor, eps: float) -> Tensor:
    """Mean, ``1 / sqrt(variance + eps)`` and unbiased variance ``(3, C)`` of ``(P, C, *)``; zeros
    without instance. The variance is computed from centred values, so a large mean does not reduce
    the precision.
    """
    axes, count = (0, *range(2, x.dim())), x.numel() // x.size(1)
    if count == 0:
        return x.new_zeros(3, x.size(1), dtype=wide(x.dtype))
    mean = x.mean(axes, dtype=wide(x.dtype))
    variance = (x - along_channels(mean, x)).square_().mean(axes)
    unbiased = variance * (count / max(count - 1, 1))
    return torch.stack((mean, torch.rsqrt(variance + eps), unbiased))


def given_statistics(mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """The same from running statistics."""
    return torch.stack((mean, torch.rsqrt(variance + eps), variance))


def along_channels(x: Tensor, like: Tensor) -> Tensor:
    """``(C,)`` in a shape that broadcasts with ``(P, C, *)``."""
    return x.view(-1, *[1] * (like.dim() - 2))


def normalised(x: Tensor, stats: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``weight · (x - mean) / deviation + bias``, in the type of ``x``."""
    scale = stats[1] * weight
    shift = torch.addcmul(bias.to(scale.dtype), stats[0], scale, value=-1)
    return (along_channels(scale, x) * x + along_channels(shift, x)).to(x.dtype)


def _norm_act(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    rows: Tensor | None,
    eps: float,
    slope: float,
) -> tuple[Tensor, Tensor]:
    size = len(x)
    x, residual = (t if t is None else t.contiguous() for t in real(rows, x, residual))
    kernels = native.kernels('norm', x, residual) if mean is None and len(x) else None
    if kernels is not None and weight.dtype == bias.dtype == torch.float32:
        return native_norm(kernels[0], x, residual, weight, bias, eps, slope, size)
    stats = batch_statistics(x, eps) if mean is None else given_statistics(mean, variance, eps)
    y = normalised(x, stats, weight, bias)
    if residual is not None:
        y += residual
    return padded(F.leaky_relu_(y, slope) if slope != 1 else y, size), stats


def native_norm(kernel, x, residual, weight, bias, eps, slope, size) -> tuple[Tensor, Tensor]:
    """The operator in two native passes."""
    y = x.new_empty(size, *x.shape[1:])
    y[len(x) :] = 0
    stats = weight.new_empty(3, len(weight))
    results = map(native.pointer, (y, *stats))
    kernel(
        *map(ctypes.c_int64, (x.size(0), x.size(1), x[0, 0].numel())),
        *map(native.pointer, (x, residual, weight, bias)),
        ctypes.c_double(eps),
        ctypes.c_float(slope),
        *results,
    )
    count = x.numel() // x.size(1)
    stats[2] *= count / max(count - 1, 1)
    return y, stats


def _fake(x, residual, weight, bias, mean, variance, rows, eps, slope):
    stats = weight.new_empty(3, x.size(1), dtype=wide(x.dtype))
    return torch.empty_like(x, memory_format=torch.contiguous_format), stats


def _norm_act_backward(
    grad: Tensor,
    x: Tensor,
    y: Tensor | None,
    weight: Tensor,
    stats: Tensor,
    rows: Tensor | None,
    by_batch: bool,
    adds: bool,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    size = len(x)
    grad, x, y = (t if t is None else t.contiguous() for t in real(rows, grad, x, y))
    kernels = native.kernels('norm', grad, x, y) if by_batch and len(x) else None
    if kernels is not None and weight.dtype == torch.float32:
        return _native_backward(kernels[1], grad, x, y, weight, stats, adds, slope, size)
    inner = grad if y is None else torch.ops.aten.leaky_relu_backward(grad, y, slope, True)
    passes = adds and y is not None  # otherwise the shortcut's gradient is that of the output
    grad_residual = padded(inner, size) if passes else x.new_empty(0)
    grad_x, *grads = norm_backward(inner, x, weight, stats, by_batch)
    return padded(grad_x, size), grad_residual, *grads


def norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, stats: Tensor, by_batch: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to ``x``, weight and bias of a batch norm."""
    if not x.numel():
        return torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(weight)
    kind = wide(x.dtype)
    axes, count = (0, *range(2, x.dim())), x.numel() // x.size(1)
    mean, deviation = stats[0].to(kind), stats[1].to(kind)
    direction = (x - along_channels(mean, x)) * along_channels(deviation, x)
    grad_bias = grad.sum(axes, dtype=kind)
    grad_weight = (grad * direction).sum(axes, dtype=kind)
    grad_x = grad.to(kind)
    if by_batch:
        shift, tilt = (along_channels(t / count, x) for t in (grad_bias, grad_weight))
        grad_x = grad_x - shift - direction * tilt
    grad_x = grad_x * along_channels(deviation * weight, x)
    return grad_x.to(x.dtype), grad_weight.to(weight.dtype), grad_bias.to(weight.dtype)


def _native_backward(kernel, grad, x, y, weight, stats, adds, slope, size):
    grad_x = x.new_empty(size, *x.shape[1:])
    grad_residual = torch.empty_like(grad_x) if adds and y is not None else None
    for result in (grad_x, grad_residual):
        if result is not None:
            result[len(x) :] = 0
    grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(weight)
    kernel(
        *map(ctypes.c_int64, (x.size(0), x.size(1), x[0, 0].numel())),
        *map(native.pointer, (grad, x, y, weight, stats[0], stats[1])),
        ctypes.c_float(slope),
        *map(native.pointer, (grad_x, grad_residual, grad_weight, grad_bias)),
    )
    grad_residual = x.new_empty(0) if grad_residual is None else grad_residual
    return grad_x, grad_residual, grad_weight, grad_bias


def _fake_backward(grad, x, y, weight, stats, rows, by_batch, adds, slope):
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    residual = torch.empty_like(grad_x) if adds and y is not None else x.new_empty(0)
    return grad_x, residual, torch.empty_like(weight), torch.empty_like(weight)


def _setup_context(ctx, inputs, output) -> None:
    x, residual, weight, _, mean, _, rows, _, ctx.slope = inputs
    y, stats = output
    ctx.by_batch, ctx.adds = mean is None, residual is not None
    ctx.save_for_backward(x, y if ctx.slope != 1 else None, weight, stats, rows)
    ctx.mark_non_differentiable(stats)
    ctx.set_materialize_grads(False)


def _backward(ctx, grad: Tensor, _):
    if grad is None:
        return (None,) * 9
    grad_x, grad_residual, *grads = BACKWARD(
        grad, *ctx.saved_tensors, ctx.by_batch, ctx.adds, ctx.slope
    )
    if ctx.slope == 1:
        grad_residual = grad
    return grad_x, grad_residual if ctx.adds else None, *grads, *(None,) * 5


BACKWARD = define(_norm_act_backward, _fake_backward)
OPERATOR = define(_norm_act, _fake, _setup_context, _backward)
