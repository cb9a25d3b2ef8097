import json

import numpy as np
import pytest
from command import run_tool

from bharnet_mm.evaluation import save_scores

CLASSES = ['pour', 'wave']


def write(path, predicted, ids=('a', 'b', 'c', 'd')):
    logits = {'body': np.eye(2)[[0, 0, 0, 0]], 'pred': np.eye(2)[predicted]}
    save_scores(path, list(ids), [0, 0, 1, 1], logits, CLASSES)
    return path


def test_mean_and_spread_over_seeds_and_missing_clips(tmp_path):
    files = [write(tmp_path / '0.npz', [0, 0, 1, 1]), write(tmp_path / '1.npz', [0, 0, 0, 0])]
    said = run_tool('analysis/seeds.py', *files, '--missing', 1, '--json', tmp_path / 'r.json')
    result = json.loads((tmp_path / 'r.json').read_text())
    assert (result['clips'], result['missing']) == (4, 1)
    assert result['experts']['pred'] == {
        'by_seed': [1.0, 0.5],
        'mean': 0.75,
        'std': pytest.approx(np.std([1, 0.5], ddof=1), abs=1e-4),
        'mean_of_all': 0.6,
    }
    assert result['experts']['body']['std'] == 0
    assert '| pred | 1.000 0.500 | 0.750 | 0.354 | 0.600 |' in said


def test_seeds_of_different_clips_are_refused(tmp_path):
    files = [
        write(tmp_path / '0.npz', [0, 0, 1, 1]),
        write(tmp_path / '1.npz', [0, 0, 1, 1], ids=('a', 'b', 'c', 'e')),
    ]
    assert "'e'" in run_tool('analysis/seeds.py', *files, status=1)
