"""Features that several operators read: their gradients are added in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import define, is_plain


def shared(x: Tensor, readers: int) -> tuple[Tensor, ...]:
    """``x (P, *)`` for each of two or three readers. Autograd would add their gradients one by one,
    each time reading and writing the sum.
    """
    known = torch.is_grad_enabled() and x.requires_grad
    if not known or is_plain() or torch.compiler.is_compiling():
        return (x,) * readers
    return _Shared.apply(x, readers)


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, readers: int) -> tuple[Tensor, ...]:
        """``(P, C, V, T)`` → as many views of it, each of this shape."""
        ctx.set_materialize_grads(False)
        return tuple(x.view_as(x) for _ in range(readers))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grads: Tensor | None) -> tuple[Tensor | None, None]:
        given = [grad for grad in grads if grad is not None]
        if len(given) < 2:
            return (given[0] if given else None), None
        return OPERATOR(*given, *(None,) * (3 - len(given))), None


def _sum_gradients(first: Tensor, second: Tensor, third: Tensor | None) -> Tensor:
    total = first + second
    return total if third is None else total.add_(third)


def _fake(first: Tensor, second: Tensor, third: Tensor | None) -> Tensor:
    return torch.empty_like(first, memory_format=torch.contiguous_format)


OPERATOR = define(_sum_gradients, _fake)
