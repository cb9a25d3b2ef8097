"""Batch norm with what follows it, in as few passes over memory as the framework allows."""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import native

#: Slope of every LeakyReLU in DeGCN.
NEGATIVE_SLOPE = 0.1


def folded(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift ``(C,)`` of a batch norm that uses its running statistics: ``norm(x) = scale·x +
    shift``.
    """
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias


def folds(module: nn.Module) -> bool:
    """Whether batch norms may be folded into the weights before them: at inference."""
    return not module.training and not torch.is_grad_enabled()


def norm_act(
    norm: nn.Module, x: Tensor, residual: Tensor | None = None, act: bool = True
) -> Tensor:
    """``leaky_relu(norm(x) + residual)``; without ``act`` no LeakyReLU.

    In training on a CPU all of it is one native kernel, see :mod:`.native`. Where that is not to be had, the
    statistics of a float32 batch norm, most of its time in torch, are written out (half the time).

    Args:
        norm (nn.Module): A batch norm, or what has taken its place (``SyncBatchNorm``).
        x (Tensor): ``(P, C, *)``.
        residual (Tensor, optional): Like ``x``.
        act (bool): Defaults to True.
    """
    if _by_batch(norm, x):
        fits = residual is None or x.shape == residual.shape
        if fits and norm.weight.dtype == norm.running_mean.dtype == torch.float32:
            kernels = native.kernels('norm', x, residual)
            if kernels is not None:
                return _NormAct.apply(x, residual, kernels, norm, act, norm.weight, norm.bias)
    if _by_batch(norm, x) and x.dtype == norm.running_mean.dtype:
        y = _BatchNorm.apply(x, norm, norm.weight, norm.bias)
    else:
        y = norm(x)
    if residual is not None:
        y = y + residual
    return F.leaky_relu(y, NEGATIVE_SLOPE, inplace=True) if act else y


def _by_batch(norm: nn.Module, x: Tensor) -> bool:
    """Whether it is torch's own batch norm, and uses the statistics of a batch on a CPU."""
    return (
        norm.training
        and x.device.type == 'cpu'
        and type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d)
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and x.numel() > x.size(1) == norm.num_features
        and not torch.compiler.is_compiling()
    )


class _BatchNorm(torch.autograd.Function):
    """Batch norm by the statistics of the batch, ``(P, C, *)``; keeps the running ones up to date.

    The variance is taken of centred values, so a large mean costs no precision. The gradient is torch's own.
    """

    @staticmethod
    def forward(ctx, x: Tensor, norm: nn.Module, weight: Tensor, bias: Tensor) -> Tensor:
        axes = (0, *range(2, x.dim()))
        mean = x.mean(axes)
        centred = x - mean.view(-1, *[1] * (x.dim() - 2))
        variance = torch.mul(centred, centred, out=centred).mean(axes)
        ctx.save_for_backward(x.contiguous(), weight, mean, torch.rsqrt(variance + norm.eps))
        _track(norm, mean, variance, x.numel() // x.size(1))
        return F.batch_norm(x, mean, variance, weight, bias, eps=norm.eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        x, weight, mean, deviation = ctx.saved_tensors
        # torch 2.13 gives a wrong gradient for one instance where only `grad` looks channels last
        grad_x, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad.contiguous(), x, weight, None, None, mean, deviation, True, 0.0, [True, True, True]
        )
        return grad_x, None, grad_weight, grad_bias


class _NormAct(torch.autograd.Function):
    """:func:`norm_act` by the statistics of the batch, in two native passes, and so its gradient."""

    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        residual: Tensor | None,
        kernels: tuple,
        norm: nn.Module,
        act: bool,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        x = x.contiguous()
        residual = None if residual is None else residual.contiguous()
        y = torch.empty_like(x)
        mean, deviation, variance = weight.new_empty(3, len(weight)).unbind()
        ctx.slope = NEGATIVE_SLOPE if act else 1.0
        shape = x.size(0), x.size(1), x.numel() // (x.size(0) * x.size(1))
        operands = map(native.pointer, (x, residual, weight, bias))
        results = map(native.pointer, (y, mean, deviation, variance))
        kernels[0](
            *map(ctypes.c_int64, shape),
            *operands,
            ctypes.c_double(norm.eps),
            ctypes.c_float(ctx.slope),
            *results,
        )
        _track(norm, mean, variance, x.numel() // x.size(1))
        ctx.save_for_backward(x, y if act else None, weight, mean, deviation)
        ctx.shape, ctx.adds, ctx.kernel = shape, residual is not None, kernels[1]
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        x, y, weight, mean, deviation = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = torch.empty_like(x)
        grad_residual = torch.empty_like(x) if ctx.adds and y is not None else None
        grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(weight)
        operands = map(native.pointer, (grad, x, y, weight, mean, deviation))
        results = map(native.pointer, (grad_x, grad_residual, grad_weight, grad_bias))
        ctx.kernel(*map(ctypes.c_int64, ctx.shape), *operands, ctypes.c_float(ctx.slope), *results)
        if ctx.adds and y is None:
            grad_residual = grad
        return grad_x, grad_residual, None, None, None, grad_weight, grad_bias


def _track(norm: nn.Module, mean: Tensor, variance: Tensor, count: int) -> None:
    """Keeps the running statistics up to date."""
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
