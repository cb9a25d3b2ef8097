"""tools/data/sample.py and what tools/analysis/browse.py runs, from an empty folder to pictures."""

import importlib.util
from pathlib import Path

import pytest

from bharnet_mm.errors import StoreError
from bharnet_mm.experiments import browse

ROOT = Path(__file__).parents[2]


def write_sample(*args):
    spec = importlib.util.spec_from_file_location('tool_sample', ROOT / 'tools/data/sample.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main([*map(str, args)])


def draw(*args):
    return browse.main([*map(str, args)])


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp('browse') / 'sample'
    write_sample(path, '--seed', 5, '--clips-per-class', 1)
    return path


def test_draws_some_clips(store, tmp_path, capsys):
    write_sample(tmp_path / 'again', '--clips-per-class', 1)
    assert '16 synthetic clips of 16 classes' in capsys.readouterr().out
    written = draw(store, '--n', 2, '--frames', 2, '--out', tmp_path / 'png')
    assert [path.name for path in written] == ['synthetic00000.png', 'synthetic00015.png']
    assert all(path.read_bytes().startswith(b'\x89PNG') for path in written)


def test_draws_a_named_clip(store, tmp_path):
    written = draw(store, '--clip', 'synthetic00003', '--frames', 1, '--out', tmp_path)
    assert [path.name for path in written] == ['synthetic00003.png']
    with pytest.raises(StoreError, match='synthetic99999'):
        draw(store, '--clip', 'synthetic99999', '--out', tmp_path)
