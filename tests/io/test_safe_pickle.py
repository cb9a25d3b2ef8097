import os
import pickle
import sys
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest
from command import run

from bharnet_mm.errors import SourceError
from bharnet_mm.io.safe_pickle import load_pickle


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_come_through(tmp_path, protocol):
    data = {
        'split': {'train': ['a', 'b']},
        'list': [
            np.arange(6, dtype=np.float16).reshape(2, 3),
            np.asfortranarray(np.eye(3)),
            np.float32(0.5),
            np.array(['x', 'yy']),
            np.array([True, False]),
        ],
        'plain': OrderedDict(a=(1, 2.5, None, True, b'\x00\xff', {3, 4})),
    }
    path = tmp_path / 'a.pkl'
    path.write_bytes(pickle.dumps(data, protocol))
    back = load_pickle(path)
    assert back['split'] == data['split']
    assert back['plain']['a'][:5] == (1, 2.5, None, True, b'\x00\xff')
    for new, old in zip(back['list'], data['list'], strict=True):
        np.testing.assert_array_equal(new, old)
        assert new.dtype == old.dtype


@pytest.mark.parametrize('core', ['core', '_core'])
def test_arrays_of_either_numpy_version(tmp_path, core):
    text = pickle.dumps(np.arange(3.0), 0)
    for name in (b'numpy._core', b'numpy.core'):
        text = text.replace(name, f'numpy.{core}'.encode())
    (tmp_path / 'a.pkl').write_bytes(text)
    assert load_pickle(tmp_path / 'a.pkl').tolist() == [0, 1, 2]


class Attack:
    def __reduce__(self):
        return os.mkdir, ('attacked',)


@pytest.mark.parametrize(
    'data, named',
    [
        (Attack(), 'mkdir'),
        ({'annotations': [Attack()]}, 'mkdir'),
        (Fraction(1, 2), 'fractions.Fraction'),
        (np.array([Attack()], dtype=object), 'dtype .O8'),
        (print, 'print'),
        (np.load, 'load'),
    ],
)
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_anything_else_is_refused_by_name(tmp_path, monkeypatch, data, named, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(data, protocol))
    with pytest.raises(SourceError, match=named):
        load_pickle(tmp_path / 'a.pkl')
    assert not (tmp_path / 'attacked').exists()


@pytest.mark.parametrize(
    'content', [b'', b'not a pickle', pickle.dumps([np.zeros(99)])[:-40], b'\x80\x04N', b'Pid\n.']
)
def test_damaged_files(tmp_path, content):
    (tmp_path / 'a.pkl').write_bytes(content)
    with pytest.raises(SourceError, match='a.pkl'):
        load_pickle(tmp_path / 'a.pkl')


def test_no_such_file(tmp_path):
    with pytest.raises(SourceError, match='no such file'):
        load_pickle(tmp_path / 'b.pkl')


class Calls:
    """Pickles as a call, perhaps with a state."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def array_of(dtype, data, shape=(1,)):
    call, arguments, _ = np.zeros(1).__reduce__()
    return Calls(call, *arguments, state=(1, shape, dtype, False, data))


def nested(depth, make=lambda value: [value]):
    value = 1
    for _ in range(depth):
        value = make(value)
    return value


CRAFTED = {
    'objects that deny it': array_of(
        Calls(np.dtype, 'O8', False, True, state=(3, '|', None, None, None, -1, -1, 0)), b'A' * 8
    ),
    'numbers with fields': array_of(
        Calls(np.dtype, 'f8', False, True, state=(3, '<', None, ('a',), {}, -1, -1, 0)), b'A' * 8
    ),
    'a longer item': array_of(
        Calls(np.dtype, 'S1', False, True, state=(3, '|', None, None, None, 10**9, 1, 0)), b'A'
    ),
    'a shape beyond the data': array_of(np.dtype('f8'), b'A' * 8, (10**9,)),
    'no Unicode': array_of(np.dtype('U1'), b'\xff' * 4),
    'a large bytearray': Calls(bytearray, 10**11),
    'large bytes': Calls(bytes, 10**11),
    'a large array': Calls(np.ndarray, (10**11,)),
    'doubled over and over': nested(30, lambda value: (value, value)),
}


@pytest.mark.parametrize('name', CRAFTED)
@pytest.mark.parametrize('protocol', [0, 2, 5])
def test_crafted_pickles(tmp_path, name, protocol):
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps({'x': CRAFTED[name]}, protocol))
    with pytest.raises(SourceError, match='a.pkl'):
        load_pickle(tmp_path / 'a.pkl')


DEEP = b'(' * 100_000 + b't' * 100_000
STREAMS = {
    'deep list': b']' * 10**6 + b'a' * (10**6 - 1) + b'.',
    'deep tuple as a key': b'}' + DEEP + b'Ns.',
    'deep tuple': DEEP + b'.',
    'long bytes': b'\x8e' + (2**40).to_bytes(8, 'little') + b'x.',
    'long bytearray': b'\x96' + (2**40).to_bytes(8, 'little') + b'x.',
    'long text': b'\x8d' + (2**40).to_bytes(8, 'little') + b'x.',
    'long frame': b'\x80\x04\x95' + (2**40).to_bytes(8, 'little') + b'N.',
    'far memo': b'Nr\xff\xff\xff\xff.',
    'a list in itself': b']q\x00h\x00a.',
    'an instance': b'(cbuiltins\nset\no.',
    'a class': b'cbuiltins\nset\n)\x81.',
    'an extension': b'\x82\x01.',
}


@pytest.mark.parametrize('name', STREAMS)
def test_crafted_streams(tmp_path, name):
    """In a process of its own: what these did at first was to crash it or to fill the memory."""
    (tmp_path / 'a.pkl').write_bytes(STREAMS[name])
    code = (
        'import resource, sys\n'
        'resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n'
        'from bharnet_mm.io.safe_pickle import load_pickle\n'
        'from bharnet_mm.errors import SourceError\n'
        'try:\n    value = load_pickle(sys.argv[1])\n'
        'except SourceError as error:\n    sys.exit(3)\n'
    )
    run(sys.executable, '-c', code, tmp_path / 'a.pkl', status=0 if name == 'far memo' else 3)
