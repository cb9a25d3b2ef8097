import gzip
import io
import os
import tarfile
import zipfile

import numpy as np
import pytest

from bharnet_mm.errors import SourceError
from bharnet_mm.io import archive
from bharnet_mm.io.archive import files_in_archive, read_archive
from bharnet_mm.io.arrays import load_npz


def tar(path, members, mode='w:gz'):
    """An archive of (name, content, other fields)."""
    with tarfile.open(path, mode) as out:
        for name, content, fields in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in fields.items():
                setattr(entry, key, value)
            out.addfile(entry, io.BytesIO(content))
    return path


def zipped(path, members):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as out:
        for name, content in members:
            out.writestr(name, content)
    return path


@pytest.mark.parametrize('kind', ['a.zip', 'a.tar', 'a.tgz'])
def test_names_that_lead_elsewhere_are_only_names(tmp_path, kind):
    """Nothing is unpacked to the disk, whatever a file is called."""
    names = ['../../a', '/elsewhere/bharnet_b', 'c/../../d', 'e\nf', 'g' * 300]
    members = [(name, name.encode()) for name in names]
    folder = tmp_path / 'x'
    folder.mkdir()
    if kind == 'a.zip':
        path = zipped(folder / kind, members)
    else:
        mode = 'w' if kind == 'a.tar' else 'w:gz'
        path = tar(folder / kind, [(*member, {}) for member in members], mode)
    assert [name for name, _ in files_in_archive(path)] == names
    assert dict(read_archive(path, names)) == {name: name.encode() for name in names}
    assert os.listdir(folder) == [kind] and os.listdir(tmp_path) == ['x']
    assert not os.path.exists('/elsewhere/bharnet_b')


@pytest.mark.parametrize(
    'kind', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
)
def test_links_pipes_and_devices_in_a_tar_are_left_out(tmp_path, kind):
    members = [('a', b'', dict(type=kind, linkname='/etc/passwd')), ('b', b'x', {})]
    path = tar(tmp_path / 'a.tgz', members)
    assert files_in_archive(path) == [('b', 1)]
    assert list(read_archive(path, ['a', 'b'])) == [('b', b'x')]


def test_a_name_that_occurs_twice_is_read_once(tmp_path):
    with pytest.warns(UserWarning, match='Duplicate'):
        path = zipped(tmp_path / 'a.zip', [('a', b'1'), ('a', b'2')])
    assert len(files_in_archive(path)) == 2 and list(read_archive(path, ['a'])) == [('a', b'1')]
    path = tar(tmp_path / 'a.tgz', [('a', b'1', {}), ('a', b'2', {})])
    assert len(files_in_archive(path)) == 2 and list(read_archive(path, ['a'])) == [('a', b'1')]


def test_one_damaged_or_encrypted_file_of_a_zip(tmp_path):
    """The error stands in its place, and the others are read."""
    path = zipped(tmp_path / 'a.zip', [('a', b'x' * 99), ('b', b'y' * 99), ('c', b'z' * 99)])
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as opened:
        second, third = opened.infolist()[1:]
    data[second.header_offset + 33] ^= 255
    central = data.rindex(b'PK\x01\x02')
    data[third.header_offset + 6] |= 1  # encrypted, in the header of the file
    data[central + 8] |= 1  # and in the directory
    path.write_bytes(data)
    found = dict(read_archive(path, 'abc'))
    assert found['a'] == b'x' * 99
    assert isinstance(found['b'], SourceError) and 'a.zip, b' in str(found['b'])
    assert isinstance(found['c'], SourceError) and 'encrypted' in str(found['c'])


def test_more_than_its_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, 'MAX_UNPACKED', 10_000)
    path = tar(tmp_path / 'a.tgz', [(str(i), bytes(5000), {}) for i in range(3)])
    with pytest.raises(SourceError, match='when unpacked'):
        files_in_archive(path)
    path = tar(tmp_path / 'b.tgz', [(str(i), b'', {}) for i in range(30)])
    with pytest.raises(SourceError, match='when unpacked'):  # headers count too
        files_in_archive(path)
    monkeypatch.setattr(archive, 'MAX_FILES', 3)
    path = zipped(tmp_path / 'a.zip', [(str(i), b'') for i in range(4)])
    with pytest.raises(SourceError, match='more than 3 files'):
        files_in_archive(path)
    monkeypatch.setattr(archive, 'MAX_FILE', 100)
    path = zipped(tmp_path / 'c.zip', [('a', bytes(101)), ('b', b'x')])
    found = dict(read_archive(path, 'ab'))
    assert 'when unpacked' in str(found['a']) and found['b'] == b'x'


def test_a_header_that_would_fill_the_memory(tmp_path):
    """A name of 3 GB, which deflates to 3 MB, would be read whole."""
    entry = tarfile.TarInfo('././@LongLink')
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 3 << 30
    with gzip.open(tmp_path / 'a.tgz', 'w', 1) as out:
        out.write(tarfile.TarInfo('a').tobuf())
        out.write(entry.tobuf())
        out.write(bytes(1 << 20))
    with pytest.raises(SourceError, match='a header of 3221225472 bytes'):
        files_in_archive(tmp_path / 'a.tgz')


@pytest.mark.parametrize('mode', ['w', 'w:gz'])
def test_a_damaged_header_is_no_end(tmp_path, mode):
    """tarfile ends there without a word, and the files behind it would be lost."""
    path = tar(tmp_path / 'a.tar', [(name, b'x', {}) for name in 'abc'], 'w')
    data = bytearray(path.read_bytes())
    data[1024 + 148] ^= 1  # in the checksum of the second header
    path.write_bytes(bytes(data) if mode == 'w' else gzip.compress(bytes(data)))
    with pytest.raises(SourceError, match='damaged header at byte 1024'):
        files_in_archive(path)


def test_an_archive_in_an_archive_is_a_file(tmp_path):
    inner = zipped(tmp_path / 'inner.zip', [('a.json', b'{}')]).read_bytes()
    path = zipped(tmp_path / 'a.zip', [('inner.zip', inner)])
    assert files_in_archive(path) == [('inner.zip', len(inner))]


def test_what_deflates_well_is_refused_by_its_header(tmp_path):
    header = io.BytesIO()
    fields = dict(descr='<f4', fortran_order=False, shape=(2**29,))
    np.lib.format.write_array_header_1_0(header, fields)
    path = tmp_path / 'a.npz'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as out, out.open('x.npy', 'w') as part:
        part.write(header.getvalue())
        for _ in range(8):
            part.write(bytes(1 << 20))
    with pytest.raises(SourceError, match='promises 2147483648 bytes'):
        load_npz(path, 'arrays', 'mend it')
