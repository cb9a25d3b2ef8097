import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from bharnet_mm.errors import SourceError
from bharnet_mm.io.arrays import load_npy, load_npz

TOLD = ('an array', 'mend it')


@pytest.mark.parametrize('dtype', ['f4', '>i2', '?', 'U3', 'S2', 'c8', 'f8'])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_what_numpy_writes(tmp_path, dtype, order):
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype, order=order)
    np.save(tmp_path / 'a.npy', array)
    np.savez_compressed(tmp_path / 'a.npz', x=array, y=array[:0])
    for found in (load_npy(tmp_path / 'a.npy', *TOLD), load_npz(tmp_path / 'a.npz', *TOLD)['x']):
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype
    assert set(load_npz(tmp_path / 'a.npz', *TOLD, only=['y'])) == {'y'}


def header(shape, dtype='<f8'):
    stream = io.BytesIO()
    description = {'descr': dtype, 'fortran_order': False, 'shape': shape}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


@pytest.mark.parametrize(
    'content, message',
    [
        (header((10**12,)), 'promises 8000000000000 bytes'),
        (header((2**40, 2**40)), 'promises'),
        (header((-1,)), 'promises'),
        (header((1,), '|O') + bytes(8), 'not of plain'),
        (header((1,), [('a', '<f8')]) + bytes(8), 'not of plain'),
        (header((1,), '<U1') + b'\xff' * 4, 'Unicode'),
        (header((3,)) + bytes(23), 'promises|23 of 24'),
        (b'\x93NUMPY\x01\x00\xff\xff' + b'(' * 65535, ''),
        (b'\x93NUMPY\x09\x00', 'version'),
        (b'', ''),
    ],
)
def test_promises_are_refused_before_memory_is_taken(tmp_path, content, message):
    (tmp_path / 'a.npy').write_bytes(content)
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive:
        archive.writestr('x.npy', content)
    tracemalloc.start()
    for load, name in ((load_npy, 'a.npy'), (load_npz, 'a.npz')):
        with pytest.raises(SourceError, match=f'(?s){name}.*(?:{message})'):
            load(tmp_path / name, *TOLD)
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()


def test_a_compressed_bomb(tmp_path):
    np.savez_compressed(tmp_path / 'a.npz', x=np.zeros(10**6))
    with pytest.raises(SourceError, match='promises 8000000 bytes where at most 1000000'):
        load_npz(tmp_path / 'a.npz', *TOLD, max_bytes=10**6)


def test_a_compression_that_is_not_known(tmp_path):
    np.savez(tmp_path / 'a.npz', x=np.zeros(3))
    data = bytearray((tmp_path / 'a.npz').read_bytes())
    data[8] = data[data.rindex(b'PK\x01\x02') + 10] = 99
    (tmp_path / 'a.npz').write_bytes(data)
    with pytest.raises(SourceError, match='compression method'):
        load_npz(tmp_path / 'a.npz', *TOLD)
