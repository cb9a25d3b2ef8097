import os
import signal
import subprocess
import sys

import pytest
from command import environment

from bharnet_mm.errors import WriteError
from bharnet_mm.io.atomic import (
    atomic_write,
    remove_left_overs,
    swap_folders,
    undo_swap,
    write_json,
    write_text,
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('old')
    return path


def test_replaces_and_keeps_mode_and_links(file, tmp_path):
    file.chmod(0o640)
    (tmp_path / 'link').symlink_to(file)
    write_text(tmp_path / 'link', 'new ü')
    assert file.read_bytes() == 'new ü'.encode() and (tmp_path / 'link').is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    write_json(tmp_path / 'made/b.json', {'a': [1]})
    assert (tmp_path / 'made/b.json').read_text() == '{\n "a": [\n  1\n ]\n}\n'
    write_text('/dev/null', 'x')


def test_an_error_leaves_the_old_file(file, tmp_path):
    with pytest.raises(KeyError), atomic_write(file, 'wb') as stream:
        stream.write(b'half')
        raise KeyError
    assert file.read_text() == 'old' and os.listdir(tmp_path) == ['a.json']


def test_a_full_disk(small_disk):
    file = small_disk / 'a'
    file.write_text('old')
    before = len(os.listdir('/proc/self/fd'))
    with pytest.raises(WriteError, match='No space left'), atomic_write(file, 'wb') as stream:
        stream.write(bytes(2 << 20))
    assert file.read_text() == 'old' and os.listdir(small_disk) == ['a']
    assert len(os.listdir('/proc/self/fd')) == before


def test_killed_at_any_step(file, tmp_path):
    """At each system call of the writer the file is whole, and the next start cleans up."""
    script = """
import os, signal, sys
from bharnet_mm.io import atomic
path, step = sys.argv[1], int(sys.argv[2])
names = ['fsync', 'fchmod', 'replace', 'close']
def wrap(name):
    real = getattr(os, name)
    def call(*a, **k):
        global step
        step -= 1
        if step == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*a, **k)
    setattr(os, name, call)
for name in names:
    wrap(name)
with atomic.atomic_write(path) as stream:
    stream.write('new')
"""
    seen = set()
    for step in range(1, 8):
        file.write_text('old')
        command = [sys.executable, '-c', script, str(file), str(step)]
        done = subprocess.run(command, env=environment(), check=False)
        assert done.returncode in (0, -signal.SIGKILL)
        assert file.read_text() in ('old', 'new')
        seen.add((done.returncode, file.read_text()))
        removed = remove_left_overs(tmp_path)
        assert os.listdir(tmp_path) == ['a.json'] and len(removed) <= 1
    assert seen == {(-9, 'old'), (-9, 'new'), (0, 'new')}


def test_a_living_writer_keeps_its_file(file, tmp_path):
    with atomic_write(file) as stream:
        stream.write('new')
        assert remove_left_overs(tmp_path) == []
    assert file.read_text() == 'new'


@pytest.mark.parametrize('exchange', [True, False])
def test_swap(tmp_path, exchange, monkeypatch):
    if not exchange:
        monkeypatch.setattr('bharnet_mm.io.atomic._exchange', lambda *paths: False)
    for name in ('new', 'old'):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    swap_folders(tmp_path / 'new', tmp_path / 'old')
    assert os.listdir(tmp_path / 'old') == ['new'] and os.listdir(tmp_path / 'new') == ['old']
    (tmp_path / 'old').rename(tmp_path / '.old.replaced')  # killed in between
    undo_swap(tmp_path / 'old')
    assert os.listdir(tmp_path / 'old') == ['new']
