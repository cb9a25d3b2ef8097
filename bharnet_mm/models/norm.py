"""Batch norm with what follows it, in as few passes over memory as the framework allows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

    On a CPU, torch takes most of the time of a float32 batch norm in training for the statistics; there they
    are written out (half the time).

    Args:
        norm (nn.Module): A batch norm, or what has taken its place (``SyncBatchNorm``).
        x (Tensor): ``(P, C, *)``.
        residual (Tensor, optional): Like ``x``.
        act (bool): Defaults to True.
    """
    if _writes_out(norm, x):
        y = _BatchNorm.apply(x, norm, norm.weight, norm.bias)
    else:
        y = norm(x)
    if residual is not None:
        y = y + residual
    return F.leaky_relu(y, NEGATIVE_SLOPE, inplace=True) if act else y


def _writes_out(norm: nn.Module, x: Tensor) -> bool:
    return (
        norm.training
        and x.device.type == 'cpu'
        and x.dtype == norm.running_mean.dtype
        and type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d)
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and x.numel() > x.size(1)
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
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + norm.eps))
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum)
        count = x.numel() // x.size(1)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
        return F.batch_norm(x, mean, variance, weight, bias, eps=norm.eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        x, weight, mean, deviation = ctx.saved_tensors
        grad_x, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, None, None, mean, deviation, True, 0.0, [True, True, True]
        )
        return grad_x, None, grad_weight, grad_bias
