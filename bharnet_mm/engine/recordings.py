"""Records a function as a CUDA graph, once for each shape of its inputs."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BHaRNetError
from ..ops.inference_block import drops


class NotRecordable(RuntimeError):
    """A function cannot be recorded as a CUDA graph."""


class Recording:
    """A function of tensors, recorded for one set of shapes.

    Args:
        function (Callable): Takes a dict of tensors and gives tensors in any nesting. It must not
            wait for the device.
        inputs (dict[str, Tensor]): An example; values are copied.
        buffers (list[Tensor]): Tensors that the function changes, such as running statistics. They
            are restored after the warm-up calls.
        pool (optional): Memory pool that several recordings share, of
            :func:`torch.cuda.graph_pool_handle`. The results are in it, so the next call of any of
            them may overwrite them.
        warmup (int): Number of calls before the recording, in which libraries choose and compile
            kernels. Defaults to 3.

    Raises:
        NotRecordable: The function waits for the device.
        RuntimeError: The recording failed; the device can be used as before.
    """

    def __init__(
        self,
        function: Callable[[dict[str, Tensor]], Any],
        inputs: dict[str, Tensor],
        buffers: list[Tensor] = (),
        pool: Any = None,
        warmup: int = 3,
    ) -> None:
        self.function = function
        with torch.inference_mode(False):  # so that values can be copied to them in every mode
            self.inputs = {name: value.clone() for name, value in inputs.items()}
        self.graph, self.outputs = None, None
        device = next(iter(inputs.values())).device
        if device.type == 'cuda':
            # A recording holds what the streams of the current GPU do, so with another one current
            # it would be empty.
            with _LOCK, torch.cuda.device(device):
                _warm_up(partial(function, self.inputs), buffers, warmup)
                self.graph, self.outputs = _record(partial(function, self.inputs), pool)

    def __call__(self, inputs: dict[str, Tensor]) -> Any:
        """The function's result for other values of the same shapes."""
        for name, value in inputs.items():
            self.inputs[name].copy_(value, non_blocking=True)
        if self.graph is None:
            return self.function(self.inputs)
        self.graph.replay()
        return self.outputs


#: CUDA records for one thread at a time.
_LOCK = threading.Lock()

#: Recordings that could not be ended; the allocator may ask them later what they record.
_UNENDED: list[torch.cuda.CUDAGraph] = []


@cache
def _stream_of(device: int) -> torch.cuda.Stream:
    """The stream beside which nothing else runs on a GPU: one for all its recordings, since memory
    is used again on the same stream only. Torch's own is on the GPU that was current first.
    """
    return torch.cuda.Stream(device)


def _warm_up(function: Callable[[], Any], buffers: list[Tensor], calls: int) -> None:
    """Calls a function beside the current stream, as before a recording. Random numbers and buffers
    are afterwards as before.
    """
    kept = [buffer.clone() for buffer in buffers]
    stream = _stream_of(torch.cuda.current_device())
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.random.fork_rng([torch.cuda.current_device()]), torch.cuda.stream(stream):
            for _ in range(calls - 1):
                function()
            waits = _waits(function)
    finally:
        torch.cuda.current_stream().wait_stream(stream)
        with torch.no_grad():
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)
    if waits:
        # A recording in which the host waits would fail, and leave the allocator in disorder.
        raise NotRecordable(f'the host waits for the device: {waits}')


def _waits(function: Callable[[], Any]) -> str:
    """Calls a function; what it says if it waits for the device."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            function()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    found = [str(w.message) for w in caught if 'synchronizing CUDA operation' in str(w.message)]
    return f'{found[0]} ({len(found)} times)' if found else ''


def _record(function: Callable[[], Any], pool: Any) -> tuple[torch.cuda.CUDAGraph, Any]:
    """The function's graph and its results, on the current GPU. If it fails, the current stream,
    the allocator and the random numbers are as before.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with _recorded(graph, pool):
            outputs = function()
    except BaseException:
        if torch.cuda.current_stream() != stream:  # the recording could not be ended
            torch.cuda.set_stream(stream)
            _UNENDED.append(graph)
            with contextlib.suppress(Exception):
                torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
            torch.cuda.synchronize()
            _end_random_numbers(stream)
        raise
    return graph, outputs


def _recorded(graph: torch.cuda.CUDAGraph, pool: Any = None) -> torch.cuda.graph:
    """The context in which the current GPU records."""
    # Other threads, such as one that pins memory, may go on meanwhile.
    stream = _stream_of(torch.cuda.current_device())
    return torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode='thread_local')


def _end_random_numbers(stream: torch.cuda.Stream) -> None:
    """Lets random numbers be drawn after a recording that could not be ended. In some versions of
    torch the GPU's generator waits for its end, and dropout fails; the end of any recording will
    do.
    """
    number = torch.zeros((), device=stream.device)
    try:
        with _recorded(torch.cuda.CUDAGraph()):
            number.add_(1)
    except RuntimeError:  # the first error says more
        torch.cuda.set_stream(stream)


def shape_key(inputs: dict[str, Tensor | int]) -> tuple:
    """What a recording depends on: shapes and dtypes, integers such as ``body_rows``."""
    return tuple(
        (name, tuple(value.shape), value.dtype) if isinstance(value, Tensor) else (name, value)
        for name, value in sorted(inputs.items())
    )


class Recordings:
    """Recordings of a model's work by shape.

    Each is made when its shape has come ``after`` times before. There are at most ``most`` of them;
    they are dropped when the model is changed in a way that a graph would not notice. If one cannot
    be made, a warning says why, and no further ones are made.
    """

    def __init__(self, model: nn.Module, most: int, after: int = 0, constant: bool = False) -> None:
        self.most, self.after, self.failed = most, after, False
        self.modules, self.constant = list(model.modules()), constant
        self.tensors = [*model.parameters(), *model.buffers()]
        self.pool = torch.cuda.graph_pool_handle() if torch.cuda.is_available() else None
        self._forget()

    def _forget(self) -> None:
        self.by_key: dict[tuple, Recording] = {}
        self.calls: Counter = Counter()
        self.state = self._state()

    def _state(self) -> tuple:
        """What recordings take as fixed. With ``constant`` also the values of the tensors, and the
        operands that are computed from them.
        """
        pointers = hash(tuple([*map(Tensor.data_ptr, self.tensors)]))
        trained = hash(tuple([t.requires_grad for t in self.tensors]))
        modes = hash(tuple([m.training for m in self.modules]))
        values = (sum(t._version for t in self.tensors), drops()) if self.constant else ()
        return pointers, trained, modes, values

    def get(
        self, inputs: dict[str, Tensor | int], function: Callable, buffers: list[Tensor] = ()
    ) -> Recording | None:
        """The recording for these shapes, which is made if needed; None if there are too many, or
        the shapes have not come often enough, or it cannot be made.
        """
        if self._state() != self.state:
            self._forget()
        key = shape_key(inputs)
        if key not in self.by_key:
            self.calls[key] += 1
            if self.failed or len(self.by_key) >= self.most or self.calls[key] <= self.after:
                return None
            fixed = {name: value for name, value in inputs.items() if not isinstance(value, Tensor)}
            tensors = {name: value for name, value in inputs.items() if isinstance(value, Tensor)}
            try:
                self.by_key[key] = Recording(
                    lambda values: function(values | fixed), tensors, buffers, self.pool
                )
                self.state = self._state()  # its warm-up may have computed operands again
            except BHaRNetError:
                raise
            except Exception as error:  # one of the model itself comes again without a graph
                self.failed = True
                warnings.warn(
                    f'This model cannot be recorded as a CUDA graph ({type(error).__name__}: '
                    f'{str(error)[:300]}), so it runs without, with more time on the host for '
                    'each batch',
                    stacklevel=3,
                )
                return None
        return self.by_key[key]
