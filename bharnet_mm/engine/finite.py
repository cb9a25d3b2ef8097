"""Checks whether tensors are finite."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def not_finite(named: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Names of the tensors with a NaN or infinite value.

    All tensors are checked at once by their norms, with one pass and one wait for the device. They
    are checked one by one only if a norm is not finite.
    """
    tensors = [
        (name, value.detach())
        for name, value in named
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and value.layout == torch.strided
        and value.numel()
    ]
    if not tensors:
        return []
    norms = torch._foreach_norm([value.float() for _, value in tensors])
    if bool(torch.isfinite(torch.stack(norms)).all()):
        return []
    return [name for name, value in tensors if not bool(torch.isfinite(value).all())]
