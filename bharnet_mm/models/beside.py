"""Networks that do not depend on each other, side by side on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar('T')


def is_recording() -> bool:
    """Whether a CUDA graph is being recorded. Without one the host launches kernels too slowly for
    two streams.
    """
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


@cache
def _stream_beside(device: int, first: int, name: str) -> torch.cuda.Stream:
    """One more stream for each stream and name."""
    return torch.cuda.Stream(device)


class Beside:
    """Runs work on a second stream until :meth:`join`.

    A recorded graph then has two branches, whose kernels fill the GPU together; the backward pass
    takes the same streams.

    Args:
        name (str): Of the work. Work of another name has another stream.
    """

    def __init__(self, name: str) -> None:
        self.first = torch.cuda.current_stream()
        device = torch.cuda.current_device()
        self.second = _stream_beside(device, self.first.cuda_stream, name)

    def start(self, work: Callable[[], T], reads: Sequence[Tensor] = ()) -> T:
        """The results of ``work``, which must not be used before :meth:`join`.

        ``reads`` are the tensors that it reads, without those that exist as long as the recording,
        as its inputs and the parameters do.
        """
        self.second.wait_stream(self.first)
        for tensor in reads:  # its memory is not used again before the work is done
            tensor.record_stream(self.second)
        with torch.cuda.stream(self.second):
            return work()

    def join(self, results: Sequence[Tensor]) -> None:
        """Makes the first stream wait for the results."""
        self.first.wait_stream(self.second)
        for tensor in results:
            tensor.record_stream(self.first)
