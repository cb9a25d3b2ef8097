"""A kernel that does not compile is left to torch; errors of the device are not hidden."""

import subprocess
import types

import pytest
import torch

pytest.importorskip('triton')

from triton.runtime.errors import OutOfResources  # noqa: E402

from bharnet_mm.ops import cuda  # noqa: E402


@pytest.fixture
def kernel(monkeypatch):
    """A kernel whose Triton form raises what is put in ``errors``; by torch it gives 1."""
    errors, calls = [], []

    def by_triton(x):
        calls.append('triton')
        raise errors[0]

    monkeypatch.setattr(cuda, '_module', lambda name: types.SimpleNamespace(run=by_triton))
    monkeypatch.setattr(torch.cuda, 'device', lambda device: torch.no_grad())
    return cuda._kernel(lambda x: 1, 'module', 'run'), errors, calls


@pytest.mark.parametrize(
    'error',
    [
        OutOfResources(300000, 232448, 'shared memory'),
        RuntimeError('PassManager::run failed'),
        RuntimeError('`ptxas` failed with error code 255'),
        RuntimeError('Failed to find C compiler. Please specify via CC environment variable.'),
        subprocess.CalledProcessError(1, ['gcc', 'main.c']),
        RuntimeError('Triton Error [CUDA]: device kernel image is invalid'),
        RuntimeError('Triton Error [CUDA]: too many resources requested for launch'),
    ],
)
def test_a_kernel_that_does_not_compile_is_left_to_torch(kernel, error):
    function, errors, calls = kernel
    errors.append(error)
    with pytest.warns(UserWarning, match='module.run does not compile here'):
        assert function(torch.zeros(1)) == 1
    assert function(torch.zeros(4)) == 1  # without another try, also for more instances
    assert calls == ['triton']


def test_another_type_and_shape_are_tried(kernel):
    function, errors, calls = kernel
    errors.append(OutOfResources(300000, 232448, 'shared memory'))
    for x in (torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bfloat16), torch.zeros(1, 4)):
        with pytest.warns(UserWarning, match='does not compile here'):
            function(x)
    assert len(calls) == 3


def test_what_another_version_of_triton_raises_is_left_to_torch(kernel, monkeypatch):
    """Its internals may differ, for example its cache or its way to find the driver."""
    space = dict(__name__='triton.runtime.jit')
    exec('def run(x):\n    return dict()["device"]', space)
    monkeypatch.setattr(cuda, '_module', lambda name: types.SimpleNamespace(run=space['run']))
    with pytest.warns(UserWarning, match='does not compile here .*KeyError'):
        assert kernel[0](torch.zeros(1)) == 1


@pytest.mark.parametrize(
    'error',
    [
        RuntimeError('Triton Error [CUDA]: an illegal memory access was encountered'),
        RuntimeError('CUDA error: device-side assert triggered'),
        torch.OutOfMemoryError('CUDA out of memory'),
        KeyError('of our own code'),
    ],
)
def test_an_error_of_the_device_or_our_own_is_raised(kernel, error):
    function, errors, _ = kernel
    errors.append(error)
    with pytest.raises(type(error)):
        function(torch.zeros(1))
