"""Files that are none."""

import os

import pytest

from bharnet_mm.errors import BHaRNetError, SourceError
from bharnet_mm.evaluation.foreign_scores import read_scores
from bharnet_mm.io.arrays import load_npz
from bharnet_mm.io.guard import reading, reads
from bharnet_mm.io.safe_pickle import load_pickle
from bharnet_mm.io.text import read_json, read_text
from bharnet_mm.io.weights import load_weights

WAYS = {
    'weights': load_weights,
    'pickle': load_pickle,
    'scores': read_scores,
    'text': read_text,
    'json': lambda path: read_json(path, 'json'),
    'npz': lambda path: load_npz(path, 'an npz', 'none'),
}


@pytest.mark.parametrize('way', WAYS)
def test_pipes_and_devices_are_refused_at_once(way, tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    os.symlink('/dev/zero', tmp_path / 'endless')
    for name in ('pipe', 'endless'):
        with pytest.raises(BHaRNetError, match='a pipe or a device, not a file'):
            WAYS[way](tmp_path / name)


def test_a_long_path_too(tmp_path):
    folder = tmp_path / ('x' * 250)
    folder.mkdir()
    os.mkfifo(folder / 'pipe')

    @reads('nothing')
    def read(path):
        return open(path).read()

    with pytest.raises(SourceError, match='a pipe or a device'):
        read(folder / 'pipe')


def test_names_that_are_no_paths_are_let_through():
    with reading('https://example.org/\0', 'nothing'):
        pass
