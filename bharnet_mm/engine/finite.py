"""Checks whether tensors are finite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def can_be_checked(value: object) -> bool:
    """Whether a value is a tensor in which a NaN or infinite value can be."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.layout == torch.strided
        and value.numel() > 0
    )


@torch.no_grad()
def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """Whether no tensor has a NaN or infinite value, as a tensor ``()`` of bool on their device.

    All tensors are checked at once by their norms, and the host does not wait. A norm that
    overflows counts as infinite, so a False of huge values needs another look.

    Args:
        tensors: Of one device, each of which :func:`can_be_checked`.
    """
    if not tensors:
        return torch.ones((), dtype=torch.bool)
    return torch.isfinite(torch.stack(torch._foreach_norm(tensors))).all()


def not_finite(named: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Names of the tensors with a NaN or infinite value. They are checked one by one only if
    :func:`all_finite` says that there is one.
    """
    tensors = [(name, value.detach()) for name, value in named if can_be_checked(value)]
    if all_finite([value for _, value in tensors]):
        return []
    return [name for name, value in tensors if not bool(torch.isfinite(value).all())]
