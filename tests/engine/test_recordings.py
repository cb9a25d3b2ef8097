"""What surrounds a recording, with a GPU that only notes what it is told."""

import contextlib
import warnings

import pytest
import torch

from bharnet_mm.engine import recordings


class Stream:
    def wait_stream(self, other):
        pass


@pytest.fixture
def gpu(monkeypatch):
    """``fails`` raises when a recording ends, as CUDA does after a forbidden call inside it."""
    state = dict(stream='own', mode=0, ended=[], kind=None, fails=False)

    class Graph:
        pass

    @contextlib.contextmanager
    def stream(new):
        before, state['stream'] = state['stream'], new
        try:
            yield
        finally:
            state['stream'] = before

    @contextlib.contextmanager
    def graph(graph, pool=None, capture_error_mode='global'):
        state['stream'], state['kind'] = 'of the graph', capture_error_mode
        yield
        if state['fails']:  # torch does not restore the stream then
            raise RuntimeError('operation failed due to a previous error during capture')
        state['stream'] = 'own'

    def end(device, pool):
        state['ended'].append(pool)

    for name, value in dict(
        Stream=Stream,
        CUDAGraph=Graph,
        stream=stream,
        graph=graph,
        current_stream=Stream,
        current_device=lambda: 0,
        set_stream=lambda s: state.update(stream='own'),
        synchronize=lambda: None,
        get_sync_debug_mode=lambda: state['mode'],
        set_sync_debug_mode=lambda mode: state.update(mode=mode),
    ).items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch._C, '_cuda_endAllocateToPool', end, raising=False)
    monkeypatch.setattr(torch.random, 'fork_rng', lambda devices: contextlib.nullcontext())
    return state


def test_buffers_are_as_before_the_warm_up(gpu):
    buffer, modes = torch.zeros(2), []

    def function():
        buffer.add_(1)
        modes.append(gpu['mode'])

    recordings._warm_up(function, [buffer], 3)
    assert modes == [0, 0, 'warn'] and gpu['mode'] == 0 and buffer.eq(0).all()

    def fails():
        function()
        raise ValueError('of the model')

    with pytest.raises(ValueError, match='of the model'):
        recordings._warm_up(fails, [buffer], 3)
    assert buffer.eq(0).all() and gpu['stream'] == 'own'


def test_a_function_that_waits_is_not_recorded(gpu):
    def function():
        if gpu['mode'] == 'warn':
            warnings.warn('called a synchronizing CUDA operation', stacklevel=1)

    with pytest.raises(recordings.NotRecordable, match='waits for the device'):
        recordings._warm_up(function, [], 2)
    assert gpu['mode'] == 0


def test_after_a_failed_recording_all_is_as_before(gpu):
    assert recordings._record(lambda: 5, 'pool')[1] == 5
    assert gpu['kind'] == 'thread_local' and not gpu['ended']
    gpu['fails'] = True
    with pytest.raises(RuntimeError, match='during capture'):
        recordings._record(lambda: 5, 'pool')
    assert gpu['stream'] == 'own' and gpu['ended'] == ['pool']
