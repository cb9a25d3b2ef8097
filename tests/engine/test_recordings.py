"""What surrounds a recording, with a GPU that only notes what it is told."""

import contextlib
import warnings
from types import SimpleNamespace

import pytest
import torch

from bharnet_mm.engine import recordings


class Stream(str):
    """``GPU:name``"""

    device = 'cpu'  # where the test's tensors are

    def wait_stream(self, other):
        pass


@pytest.fixture
def gpu(monkeypatch):
    """Two GPUs. ``fails`` raises when a recording ends, as CUDA does after a forbidden call in it;
    the generator then waits for the end of a recording. What is done while one is made is in it,
    if its stream is of the current GPU.
    """
    state = dict(current=0, stream=None, mode=0, ended=[], kinds=[], fails=False, waits=False)
    state['recorded'] = []

    def current():
        return state['stream'] or Stream(f'{state["current"]}:own')

    @contextlib.contextmanager
    def device(index):
        before, state['current'] = state['current'], torch.device(index).index
        yield
        state['current'] = before

    @contextlib.contextmanager
    def stream(new):
        before, state['stream'] = state['stream'], new
        try:
            yield
        finally:
            state['stream'] = before

    @contextlib.contextmanager
    def graph(graph, pool=None, stream=None, capture_error_mode='global'):
        before, state['stream'] = state['stream'], stream or Stream('0:of torch')
        state['kinds'].append(capture_error_mode)
        state['recorded'].append(state['stream'])
        state['waits'] = True
        yield
        if state['fails']:  # torch does not restore the stream then
            state['fails'] = False
            raise RuntimeError('operation failed due to a previous error during capture')
        state['stream'], state['waits'] = before, False

    def end(device, pool):
        state['ended'].append((device, pool))

    for name, value in dict(
        Stream=lambda index: Stream(f'{index}:of recordings'),
        CUDAGraph=lambda: SimpleNamespace(replay=lambda: None),
        stream=stream,
        graph=graph,
        device=device,
        current_stream=current,
        current_device=lambda: state['current'],
        set_stream=lambda s: state.update(stream=None if s.endswith('own') else s),
        synchronize=lambda: None,
        get_sync_debug_mode=lambda: state['mode'],
        set_sync_debug_mode=lambda mode: state.update(mode=mode),
    ).items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch._C, '_cuda_endAllocateToPool', end, raising=False)
    monkeypatch.setattr(torch.random, 'fork_rng', lambda devices: contextlib.nullcontext())
    recordings._stream_of.cache_clear()
    yield state
    recordings._stream_of.cache_clear()


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
    assert buffer.eq(0).all() and gpu['stream'] is None


def test_a_function_that_waits_is_not_recorded(gpu):
    def function():
        if gpu['mode'] == 'warn':
            warnings.warn('called a synchronizing CUDA operation', stacklevel=1)

    with pytest.raises(recordings.NotRecordable, match='waits for the device'):
        recordings._warm_up(function, [], 2)
    assert gpu['mode'] == 0


def test_after_a_failed_recording_all_is_as_before(gpu):
    assert recordings._record(lambda: 5, 'pool')[1] == 5
    assert gpu['kinds'] == ['thread_local'] and not gpu['ended']
    gpu['fails'] = True
    with pytest.raises(RuntimeError, match='during capture'):
        recordings._record(lambda: 5, 'pool')
    assert gpu['stream'] is None and gpu['ended'] == [(0, 'pool')]
    assert not gpu['waits']  # random numbers can be drawn


def test_an_error_in_a_recording_that_ends_drops_its_memory(gpu, monkeypatch):
    monkeypatch.setattr(recordings, '_UNENDED', [])

    def fails():
        raise torch.OutOfMemoryError('of the function')

    @contextlib.contextmanager
    def graph(*args, **options):  # torch ends a recording in which nothing was forbidden
        yield

    monkeypatch.setattr(torch.cuda, 'graph', graph)
    with pytest.raises(torch.OutOfMemoryError):
        recordings._record(fails, 'pool')
    assert not recordings._UNENDED and not gpu['ended']


def test_a_function_on_another_gpu_is_recorded_there(gpu):
    """With the first GPU current, the recording of a model on the second would be empty."""
    seen = []

    class OnSecond:
        device = torch.device('cuda:1')

        def clone(self):
            return self

    def function(values):
        seen.append((gpu['current'], str(recordings.torch.cuda.current_stream())))
        return 5

    recording = recordings.Recording(function, dict(x=OnSecond()), warmup=2)
    assert recording.outputs == 5 and gpu['current'] == 0
    assert set(seen) == {(1, '1:of recordings')} and gpu['recorded'] == ['1:of recordings']
