import os
import pickle
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest

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
