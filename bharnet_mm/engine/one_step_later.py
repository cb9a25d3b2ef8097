"""What a step computed on a GPU, looked at when the next step has been launched.

A host that waits for the losses of a step launches nothing meanwhile, so the GPU idles until the
host has looked at them, received the next batch and launched the next step. With one step between,
the host does all of this while the GPU computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor


class HostCopy:
    """A copy of a tensor in the memory of the host, which goes on meanwhile."""

    def __init__(self, value: Tensor) -> None:
        self._event = None
        if value.is_cuda:
            self._value = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._event = torch.cuda.Event(blocking=True)  # the core is free meanwhile
            self._event.record()
        else:
            self._value = value.clone()

    def read(self) -> Tensor:
        """The copy; waits until it is there."""
        if self._event is not None:
            self._event.synchronize()
        return self._value


class OneStepLater(Hook):
    """Base class of hooks that look at values of a step one step later, if a GPU computes them.

    Values that are on the host already are looked at once. So are the last ones before anything is
    saved or validated and at the end of an epoch.
    """

    #: What is not on the host when a step has been launched.
    devices: Sequence[str] = ('cuda',)

    def __init__(self) -> None:
        self._waiting: tuple[HostCopy, Callable[[Tensor], None]] | None = None

    def later(self, values: Tensor, look: Callable[[Tensor], None]) -> None:
        """Calls ``look`` with the values on the host: at once, or when the next ones are given."""
        self.look()
        self._waiting = HostCopy(values), look
        if values.device.type not in self.devices:
            self.look()

    def look(self) -> None:
        """Looks at the values that were given last, unless it has been done."""
        if self._waiting is not None:
            (copy, look), self._waiting = self._waiting, None
            look(copy.read())

    def after_train_epoch(self, runner: Runner) -> None:
        """Looks at the values of the last step."""
        self.look()
        super().after_train_epoch(runner)

    def before_val(self, runner: Runner) -> None:
        """Looks at the values of the last step."""
        self.look()
        super().before_val(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Looks at the values of the last step."""
        self.look()
        super().before_save_checkpoint(runner, checkpoint)

    def after_train(self, runner: Runner) -> None:
        """Looks at the values of the last step."""
        self.look()
        super().after_train(runner)
