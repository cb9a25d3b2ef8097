import json

import numpy as np
import pytest

from bharnet_mm.apis.training_curve import read_training_curve
from bharnet_mm.errors import SourceError


def write(folder, rows):
    folder = folder / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)) + '\n')


def loss(epoch, iteration, value):
    return {'epoch': epoch, 'iter': iteration, 'step': iteration, 'loss': value}


def test_a_resumed_training_is_one_curve(tmp_path):
    write(tmp_path / '1', [loss(1, 10, 3.0), {'acc/top1': 0.2, 'step': 1}, loss(2, 20, 2.9)])
    write(tmp_path / '2', [loss(2, 20, 2.0), {'acc/top1': 0.5, 'step': 2}, loss(3, 25, 1.0)])
    write(tmp_path / '3', [{'acc/top1': 0.9, 'step': 0}])  # a test's
    curve = read_training_curve(tmp_path)
    np.testing.assert_allclose(curve.losses['loss'], [[1, 3.0], [2, 2.0], [2.5, 1.0]])
    np.testing.assert_allclose(curve.measures['acc/top1'], [[1, 0.2], [2, 0.5]])


def test_nothing_logged(tmp_path):
    curve = read_training_curve(tmp_path)
    assert curve.losses == {} and curve.measures == {}


def test_lines_that_a_kill_has_cut(tmp_path, monkeypatch):
    """The last one, or one that a later line was appended to, once there was room on the disk."""
    said = []
    monkeypatch.setattr('bharnet_mm.apis.training_curve.warn', said.append)
    write(tmp_path / '1', [loss(1, 10, 3.0)])
    file = tmp_path / '1/vis_data/scalars.json'
    glued = '{"lr": 0.1, "epo' + json.dumps(loss(2, 20, 2.0))
    rows = [glued, json.dumps(loss(3, 30, 1.0)), '{"lr": 0.']
    file.write_text(file.read_text() + '\n'.join(rows))
    curve = read_training_curve(tmp_path)
    np.testing.assert_allclose(curve.losses['loss'], [[1, 3.0], [3, 1.0]])
    assert len(said) == 1 and '2 lines are cut' in said[0]
    file.write_text('no log\n')
    with pytest.raises(SourceError, match='no line that is JSON'):
        read_training_curve(tmp_path)
