"""What cannot be written is found before the work; what may not be written is not replaced."""

import argparse
import ast
import json
import os
from pathlib import Path

import pytest
from somebody import needs_root, somebody_else

from bharnet_mm.errors import WriteError
from bharnet_mm.io.atomic import atomic_write, write_json, write_text
from bharnet_mm.io.outputs import output_file, output_files, output_folder

ROOT = Path(__file__).resolve().parents[2]
#: Options that name what a command writes.
NAMES = {'out', '--out', '--json', '--html', '--page', '--dump', '--report', '--work-dir'}
LONG = 'n' * 300


@pytest.fixture
def place(tmp_path):
    (tmp_path / 'file').write_text('keep')
    (tmp_path / 'folder').mkdir()
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'loop').symlink_to('loop')
    return tmp_path


FILES = {'folder': 'a folder', 'file/a': 'no folder at', 'pipe/a': 'no folder at', LONG: 'too long'}
FOLDERS = {
    'file': 'no folder at',
    'file/a': 'no folder at',
    'pipe': 'no folder at',
    LONG: 'too long',
}


@pytest.mark.parametrize(
    ('check', 'name', 'message'),
    [(output_file, *case) for case in FILES.items()]
    + [(output_folder, *case) for case in FOLDERS.items()],
)
def test_what_cannot_be_written(place, check, name, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        check(str(place / name))
    assert (place / 'file').read_text() == 'keep'


def test_what_can_be_written(place):
    for name in ('new', 'new/below', '-dash', 'a\nb', 'é', os.fsdecode(b'\xff')):
        assert output_file(str(place / name)) == output_folder(str(place / name)) == place / name
    assert output_file('/dev/full') and output_file(str(place / 'pipe'))
    (place / 'folder/a.json').mkdir()
    assert output_files('.md')(str(place / 'folder/a'))
    with pytest.raises(argparse.ArgumentTypeError, match='a folder'):
        output_files('.md', '.json')(str(place / 'folder/a'))


@needs_root
def test_a_file_without_the_right_to_write_is_not_replaced(tmp_path):
    (tmp_path / 'open').mkdir()
    (tmp_path / 'open').chmod(0o777)
    kept = tmp_path / 'open/kept'
    kept.write_text('keep')
    kept.chmod(0o444)
    with somebody_else(tmp_path):
        with pytest.raises(argparse.ArgumentTypeError, match='no right to write it'):
            output_file(str(kept))
        with pytest.raises(argparse.ArgumentTypeError, match='no right to write in'):
            output_folder(str(tmp_path / 'new'))
        with pytest.raises(PermissionError):
            write_text(kept, 'other')
        write_text(tmp_path / 'open/new', 'text')
    assert kept.read_text() == 'keep' and sorted(os.listdir(kept.parent)) == ['kept', 'new']


def test_a_full_device():
    with pytest.raises(WriteError, match='/dev/full: found a disk that refused'):
        write_text('/dev/full', 'text')


def test_names_of_any_form(tmp_path):
    """A temporary name fits where the name itself does; half characters are written and read."""
    for name in ('n' * 255, 'é' * 127, 'a\nb', os.fsdecode(b'caf\xe9')):
        write_json(tmp_path / name, {'video': os.fsdecode(b'caf\xe9')})
        assert json.loads((tmp_path / name).read_text()) == {'video': 'caf\udce9'}
    with pytest.raises(OSError, match='too long'), atomic_write(tmp_path / LONG):
        pass
    assert len(os.listdir(tmp_path)) == 4


def test_commands_check_what_they_write():
    unchecked = []
    for path in sorted([*ROOT.glob('bharnet_mm/**/*.py'), *ROOT.glob('tools/**/*.py')]):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith(
                '.add_argument'
            ):
                continue
            names = {word.value for word in node.args if isinstance(word, ast.Constant)}
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            checked = given.get('type', '').startswith('output')
            if names & NAMES and 'action' not in given and not checked:
                unchecked.append((path.name, sorted(names)))
    assert not unchecked
