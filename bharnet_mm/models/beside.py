"""Networks that do not depend on each other, side by side on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from .instances import Instances

T = TypeVar('T')


def is_recording() -> bool:
    """Whether a CUDA graph is being recorded. Without one the host launches kernels too slowly for
    two streams.
    """
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


@cache
def _second_stream(device: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


class Beside:
    """Runs work on a second stream until :meth:`join`.

    A recorded graph then has two branches, whose kernels fill the GPU together; the backward pass
    takes the same streams. What the work reads must exist as long as the recording, as its inputs
    and the parameters do.
    """

    def __init__(self) -> None:
        self.first = torch.cuda.current_stream()
        self.second = _second_stream(torch.cuda.current_device())

    def start(self, work: Callable[[], T]) -> T:
        """The results of ``work``, which must not be used before :meth:`join`."""
        self.second.wait_stream(self.first)
        with torch.cuda.stream(self.second):
            return work()

    def join(self, results: list[Instances]) -> None:
        """Makes the first stream wait for the results."""
        self.first.wait_stream(self.second)
        for instances in results:
            for value in vars(instances).values():
                if isinstance(value, Tensor):  # its memory is not used again before this stream
                    value.record_stream(self.first)
