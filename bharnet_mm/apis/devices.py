"""The device that a model runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    import torch


def find_device(name: str | None = None) -> torch.device:
    """A device that can be used.

    Args:
        name: In torch's notation. Defaults to the GPU if there is one.

    Raises:
        ConfigError: There is no such device here.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        device = torch.device(name or ('cuda' if count else 'cpu'))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        known = ['cpu', *['cuda'] * bool(count), *(f'cuda:{i}' for i in range(count))]
        raise ConfigError(
            'device',
            f'{name!r} ({str(error).splitlines()[0][:80]})',
            f'one of {known}',
            'name another device',
        ) from None
    return device
