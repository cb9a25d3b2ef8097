"""Folders are listed without waiting for pipes, without loops, and without silent losses."""

import os
import shutil

import pytest
from somebody import needs_root, somebody_else

from bharnet_mm.io.listing import children, everything_below, grandchildren
from bharnet_mm.io.text import load_json


@pytest.fixture
def tree(tmp_path):
    """``tree/a/one``, ``tree/b/two``, a hidden file, and what cannot be read as a file."""
    root = tmp_path / 'tree'
    for name in ('a/one', 'b/two', 'b/.hidden', '__MACOSX/three'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('')
    return root


UNUSUAL = {
    'pipe': (os.mkfifo, 'a pipe or a device'),
    'device': (lambda path: path.symlink_to('/dev/zero'), 'a pipe or a device'),
    'nowhere': (lambda path: path.symlink_to('missing'), 'leads nowhere'),
    'itself': (lambda path: path.symlink_to(path.name), 'leads nowhere|cannot be followed'),
    'above': (lambda path: path.symlink_to(path.parents[2]), 'a folder above'),
    'root': (lambda path: path.symlink_to('/'), 'a folder above'),
    'again': (lambda path: path.symlink_to(path.parents[1] / 'b'), 'listed already'),
}


def names(paths, root):
    return [path.relative_to(root).as_posix() for path in paths]


@pytest.mark.parametrize('kind', UNUSUAL)
def test_what_cannot_be_listed_is_told(tree, kind):
    make, reason = UNUSUAL[kind]
    make(tree / 'a' / kind)
    told = []
    found = everything_below(tree, lambda *what: told.append(what))
    assert names(found.files, tree) == ['a/one', 'b/two'] and names(found.folders, tree) == [
        'a',
        'b',
    ]
    [(path, why)] = told
    assert path == str(tree / 'a' / kind)
    with pytest.raises(ValueError, match=reason):
        everything_below(tree)


def test_links_to_folders_elsewhere_are_followed_once(tree, tmp_path):
    shutil.move(tree / 'b', tmp_path / 'disk')
    (tree / 'b').symlink_to(tmp_path / 'disk')
    (tmp_path / 'disk/back').symlink_to(tmp_path / 'disk')
    told = []
    found = everything_below(tree, lambda *what: told.append(what))
    assert names(found.files, tree) == ['a/one', 'b/two'] and len(told) == 1
    shown = grandchildren(tree, lambda *what: told.append(what))
    assert [(path.name, names(inside.files, path)) for path, inside in shown] == [
        ('a', ['one']),
        ('b', ['two']),
    ]
    assert names(children(tree / 'b').files, tree) == ['b/two']


def test_a_folder_that_is_not_there(tree):
    assert everything_below(tree / 'c') == ([], [])
    with pytest.raises(FileNotFoundError):
        children(tree / 'c')


@needs_root
def test_a_folder_that_cannot_be_read(tree, tmp_path):
    told = []
    (tree / 'a').chmod(0)
    with somebody_else(tmp_path):
        found = everything_below(tree, lambda *what: told.append(what))
        shown = grandchildren(tree, lambda *what: told.append(what))
    assert names(found.files, tree) == ['b/two'] and [path.name for path, _ in shown] == ['b']
    assert told == [(str(tree / 'a'), 'a folder that cannot be read (Permission denied)')] * 2


def test_text_and_json_are_not_read_from_a_pipe(tree):
    os.mkfifo(tree / 'pipe')
    with pytest.raises(ValueError, match='a pipe or a device'):
        load_json(tree / 'pipe')
