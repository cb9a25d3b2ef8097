"""Networks that do not depend on each other, side by side on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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

    Args:
        name (str): Of the work. Work of another name has another stream.
    """

    def __init__(self, name: str) -> None:
        self.first = torch.cuda.current_stream()
        device = torch.cuda.current_device()
        self.second = _stream_beside(device, self.first.cuda_stream, name)

    def start(self, work: Callable[[], T], reads: Sequence[Tensor]) -> T:
        """The results of ``work``, which must not be used before :meth:`join`."""
        self.second.wait_stream(self.first)
        for tensor in reads:  # its memory is not used again before the work is done
            tensor.record_stream(self.second)
        with torch.cuda.stream(self.second):
            return work()

    def join(self, results: Iterable[Tensor]) -> None:
        """Makes the first stream wait for the results."""
        self.first.wait_stream(self.second)
        for tensor in results:
            tensor.record_stream(self.first)


def side_by_side(
    works: Mapping[str, Callable[[], T]],
    tensors: Callable[[T], Iterable[Tensor]],
    reads: Sequence[Tensor] = (),
) -> list[T]:
    """Results of works that do not depend on each other.

    While a CUDA graph is recorded, all but the first work have a stream of their own. The graph
    then has several branches, whose kernels fill the GPU together; the backward pass takes the same
    streams.

    Args:
        works: Name of the stream → work.
        tensors: Of a result.
        reads: What the works read, without the tensors that exist as long as the recording, as its
            inputs and the parameters do.
    """
    if not is_recording():
        return [work() for work in works.values()]
    (_, first), *others = works.items()
    streams = [Beside(name) for name, _ in others]
    rest = [s.start(work, reads) for s, (_, work) in zip(streams, others, strict=True)]
    results = [first(), *rest]
    for stream, result in zip(streams, rest, strict=True):
        stream.join(tensors(result))
    return results
