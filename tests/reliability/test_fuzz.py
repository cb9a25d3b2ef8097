"""A few mutated cases of every reader; ``make reliability`` runs 10,000."""

import os

import fuzz
import pytest
from readers import _write

from bharnet_mm.io.guard import reading

READERS = fuzz.readers()
#: Converters take tens of milliseconds a case.
CASES = dict.fromkeys(
    [
        'ntu',
        'nucla',
        'nucla zip',
        'nucla tgz',
        'pku_mmd',
        'annotations',
        'holistic npy',
        'openpose',
        'mediapipe tasks',
        'shards',
        'model card',
    ],
    40,
) | dict.fromkeys(['published model', 'onnx', 'pt2', 'video avi', 'video mp4'], 25)


@pytest.mark.parametrize('name', READERS)
def test_only_our_errors(name, monkeypatch):
    monkeypatch.setattr(os, 'fsync', lambda handle: None)
    counts = fuzz.fuzz(name, READERS[name], CASES.get(name, 200))
    assert counts['read'] + counts['refused'] == counts['cases'] > 0


@pytest.mark.parametrize('fault', [ZeroDivisionError, KeyError, AttributeError])
def test_a_foreign_exception_is_noticed(fault, tmp_path):
    def read(path):
        raise fault

    reader = fuzz.Reader(lambda folder: _write(folder / 'a', b'abc'), read)
    with pytest.raises(fault):
        fuzz.fuzz('broken', reader, 5)


def test_what_it_watches_for(tmp_path):
    def run(path):
        os.system('true')

    def write(path):
        open(tmp_path / 'outside', 'w').close()

    def hide(path):
        with reading(path, 'nothing'):
            os.system('true')

    ways = ((run, 'os.system'), (write, 'a file written at'), (hide, 'os.system'))
    for read, message in ways:
        reader = fuzz.Reader(lambda folder: _write(folder / 'a', b'abc'), read)
        with pytest.raises(fuzz.Forbidden, match=message):
            fuzz.fuzz('broken', reader, 5)
    assert not (tmp_path / 'outside').exists()
