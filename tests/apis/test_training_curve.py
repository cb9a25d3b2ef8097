import json

import numpy as np

from bharnet_mm.apis.training_curve import read_training_curve


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
