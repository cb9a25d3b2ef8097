import pytest
import torch

from bharnet_mm.apis.devices import find_device
from bharnet_mm.apis.exported import load_exported
from bharnet_mm.errors import ConfigError


def test_the_default_is_the_gpu_if_there_is_one():
    assert find_device().type == ('cuda' if torch.cuda.is_available() else 'cpu')
    assert find_device('cpu') == torch.device('cpu')


@pytest.mark.parametrize('name', ['nosuch', 'cuda:99', 'cpu:x', 'mps'])
def test_a_device_that_cannot_be_used_is_refused(name):
    if name == 'mps' and torch.backends.mps.is_available():
        pytest.skip('this machine has it')
    with pytest.raises(ConfigError, match=f"device: found '{name}'.*'cpu'"):
        find_device(name)


@pytest.mark.parametrize('name', ['nosuch', 'cuda:x', 'gpu'])
def test_an_exported_model_does_not_take_the_cpu_for_an_unknown_device(tmp_path, name):
    with pytest.raises(ConfigError, match=name):
        load_exported(tmp_path / 'x.onnx', name)
