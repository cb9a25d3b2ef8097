"""Nothing in a file of weights runs, whichever way it comes in."""

import io
import zipfile

import numpy as np
import pytest
import torch
from hostile import Shell, saved, serve
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from bharnet_mm.errors import CheckpointError, ConfigError
from bharnet_mm.io.cache import file_sha256
from bharnet_mm.io.weights import download, load_weights


@pytest.fixture
def server(tmp_path, monkeypatch):
    yield from serve(tmp_path, monkeypatch)


class Net(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.fc = nn.Linear(2, 2)


def by_load_checkpoint(source):
    load_checkpoint(Net(), source)


def by_init_cfg(source):
    Net(init_cfg=dict(type='Pretrained', checkpoint=source)).init_weights()


WAYS_IN = [load_weights, CheckpointLoader.load_checkpoint, by_load_checkpoint, by_init_cfg]


@pytest.mark.parametrize('where', ['file', 'url'])
@pytest.mark.parametrize('way_in', WAYS_IN, ids=lambda way: way.__name__)
def test_no_code_runs(way_in, where, server, tmp_path):
    made = tmp_path / 'made'
    data = saved(dict(state_dict=Net().state_dict(), more=Shell(made)))
    server.files['/x.pth'] = data
    (tmp_path / 'x.pth').write_bytes(data)
    source = server.address + '/x.pth' if where == 'url' else str(tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'x\.pth: found'):
        way_in(source)
    assert not made.exists()


@pytest.mark.parametrize('way_in', WAYS_IN[:2], ids=lambda way: way.__name__)
def test_cache_knows_the_whole_url(way_in, server):
    for i, place in enumerate(['/x.pth', '/b/x.pth', '/x.pth?v=2']):
        server.files[place] = saved(dict(state_dict=dict(a=torch.full((2,), float(i)))))
    for _ in range(2):
        for i, place in enumerate(['/x.pth', '/b/x.pth', '/x.pth?v=2']):
            found = way_in(server.address + place, map_location='cpu')
            assert found['state_dict']['a'].tolist() == [i, i]
    assert len(server.requests) == 3


def test_damaged_cache_is_downloaded_again(server):
    server.files['/x.pth'] = saved(dict(a=torch.ones(2)))
    path = download(server.address + '/x.pth')
    path.write_bytes(path.read_bytes()[:100])
    assert load_weights(server.address + '/x.pth')['a'].tolist() == [1, 1]
    path.chmod(0o666)  # anyone may have written it
    load_weights(server.address + '/x.pth')
    assert len(server.requests) == 3


def test_incomplete_or_absent_download(server):
    server.files['/x.pth'] = saved(dict(a=torch.ones(2)))
    server.cut = True
    for _ in range(2):
        with pytest.raises(CheckpointError, match='ended after|IncompleteRead'):
            load_weights(server.address + '/x.pth')
    server.cut = False
    assert load_weights(server.address + '/x.pth')['a'].tolist() == [1, 1]
    with pytest.raises(CheckpointError, match='404'):
        load_weights(server.address + '/y.pth')
    with pytest.raises(CheckpointError, match='no such file'):
        load_weights('nowhere.pth')
    with pytest.raises(CheckpointError, match='a folder'):
        load_weights('.')
    with pytest.raises(ConfigError, match='unknown name'):
        load_weights('open-mmlab://resnet51')


def test_checksum(server, tmp_path):
    data = saved(dict(a=torch.ones(2)))
    server.files['/x.pth'] = data
    (tmp_path / 'x.pth').write_bytes(data)
    right = file_sha256(tmp_path / 'x.pth')
    for source in (server.address + '/x.pth', str(tmp_path / 'x.pth')):
        load_weights(source, sha256=right[:8])
        with pytest.raises(CheckpointError, match='begins with 00000000'):
            load_weights(source, sha256='0' * 8)
        with pytest.raises(ConfigError, match='hexadecimal'):
            load_weights(source, sha256='')
    load_weights(f'{server.address}/x.pth#sha256={right}')
    with pytest.raises(CheckpointError, match='SHA-256'):
        load_weights(f'{server.address}/x.pth#sha256={"0" * 64}')


def test_safetensors(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / 'x.pth'  # told by the content, not by the name
    save_file({'fc.weight': torch.eye(2), 'fc.bias': torch.ones(2)}, path, {'classes': 'a,b'})
    found = load_weights(path)
    assert found['meta'] == {'classes': 'a,b'}
    net = Net()
    load_checkpoint(net, str(path))
    assert net.fc.weight.tolist() == [[1, 0], [0, 1]]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError):
        load_weights(path)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite(value, tmp_path):
    torch.save(dict(state_dict=dict(a=torch.ones(3), b=torch.tensor([1, value]))), tmp_path / 'x')
    with pytest.raises(CheckpointError, match='1 of 2 tensors that are not finite, b for one'):
        load_weights(tmp_path / 'x')


@pytest.mark.parametrize(
    'content, message',
    [
        (torch.ones(2), 'a Tensor and no dict'),
        ({}, 'no tensors'),
        ({'state_dict': [1]}, 'no state_dict'),
        ({'state_dict': {1: torch.ones(2)}}, 'no state_dict'),
        ({'a': torch.ones(1).expand(10**12)}, 'more bytes than the file'),
    ],
)
def test_other_content(content, message, tmp_path):
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=message):
        load_weights(tmp_path / 'x.pth')


def test_compressed_archive(tmp_path):
    with zipfile.ZipFile(io.BytesIO(saved(dict(a=torch.zeros(10**6))))) as old:
        with zipfile.ZipFile(tmp_path / 'x.pth', 'w', zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
    with pytest.raises(CheckpointError, match='compressed'):
        load_weights(tmp_path / 'x.pth')


class Dtype:
    """Pickles as a dtype of objects whose flags say that it holds none."""

    def __reduce__(self):
        return np.dtype, ('O8', False, True), (3, '|', None, None, None, -1, -1, 0)


class Array:
    """Pickles as an array of any dtype whose data are these bytes."""

    def __init__(self, dtype, data, shape=(1,)):
        self.state = (1, shape, dtype, False, data)

    def __reduce__(self):
        call, arguments, _ = np.zeros(1).__reduce__()
        return call, arguments, self.state


@pytest.mark.parametrize(
    'value',
    [
        Array(Dtype(), b'\x41' * 8),
        Array(np.dtype([('a', 'f8')]), b'\0' * 8),
        Array(np.dtype('f8'), b'\0' * 8, (10**9,)),
        Array(np.dtype('f8'), [1]),
        Array(np.dtype('U1'), b'\xff' * 4),
        Array(np.dtype('M8[s]'), b'\0' * 8),
        np.array([None]),
    ],
)
def test_crafted_arrays(value, tmp_path):
    torch.save(dict(a=torch.ones(1), b=value), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError):
        load_weights(tmp_path / 'x.pth')


@pytest.mark.parametrize(
    'value',
    [
        np.arange(6, dtype='>i4').reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(['a', 'ü\U0001f600']),
        np.array([b'ab', b'c']),
        np.array([True, False]),
        np.zeros((0, 3), np.float16),
        np.float64(1.5),
        np.array(2 + 3j),
    ],
)
def test_plain_arrays(value, tmp_path):
    torch.save(dict(a=torch.ones(1), b=value), tmp_path / 'x.pth')
    found = load_weights(tmp_path / 'x.pth')['b']
    np.testing.assert_array_equal(found, value)
    assert found.dtype == value.dtype.newbyteorder('=')
    torch.save(dict(a=torch.ones(1), b=found), tmp_path / 'y.pth')  # and can be saved again
    np.testing.assert_array_equal(load_weights(tmp_path / 'y.pth')['b'], value)
