import pickle

import numpy as np
import pytest
import torch

from bharnet_mm.errors import ConfigError, SourceError
from bharnet_mm.evaluation.foreign_scores import read_scores

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=np.float32)


def data_samples(**ids):
    return [
        dict(
            pred_score=torch.tensor(p),
            gt_label=torch.tensor([i]),
            pred_label=torch.tensor([0]),
            **{name: value[i] for name, value in ids.items()},
        )
        for i, p in enumerate(PROBABILITIES)
    ]


def dump(path, value):
    path.write_bytes(pickle.dumps(value))
    return path


@pytest.fixture
def annotations(tmp_path):
    rows = [dict(frame_dir=f'x{i}', label=i % 3) for i in range(4)]
    return dump(
        tmp_path / 'ann.pkl', dict(split=dict(test=['x2', 'x1'], train=['x0']), annotations=rows)
    )


def test_mmaction2_dump_with_ids(tmp_path):
    path = dump(tmp_path / 'd.pkl', data_samples(frame_dir=['a', 'b']))
    scores = read_scores(path)
    assert scores.clip_id.tolist() == ['a', 'b'] and scores.label.tolist() == [0, 1]
    np.testing.assert_allclose(np.exp(scores.logits['pred']), PROBABILITIES, rtol=1e-5)
    assert read_scores(path, classes=['p', 'q', 'r']).classes == ('p', 'q', 'r')


def test_mmaction2_dump_without_ids_wants_annotations(tmp_path, annotations):
    path = dump(tmp_path / 'd.pkl', data_samples())
    with pytest.raises(ConfigError, match='meta_keys'):
        read_scores(path)
    # in the order of the annotations, as PoseDataset reads them
    assert read_scores(path, annotations, 'test').clip_id.tolist() == ['x1', 'x2']


def test_pyskl_result(tmp_path, annotations):
    path = dump(tmp_path / 'r.pkl', [np.stack([p, p]) for p in PROBABILITIES])
    scores = read_scores(path, annotations, 'test')
    assert scores.clip_id.tolist() == ['x1', 'x2'] and scores.label.tolist() == [1, 2]
    np.testing.assert_allclose(np.exp(scores.logits['pred']), PROBABILITIES, rtol=1e-5)
    with pytest.raises(ConfigError, match='annotation'):
        read_scores(path)
    with pytest.raises(ConfigError, match='2 clips; expected 4'):
        read_scores(path, annotations)
    with pytest.raises(ConfigError, match="no split 'val'"):
        read_scores(path, annotations, 'val')


def test_logits_are_kept(tmp_path, annotations):
    z = [np.array([3.0, -1.0, 0.5])] * 2
    scores = read_scores(dump(tmp_path / 'r.pkl', z), annotations, 'test')
    np.testing.assert_allclose(scores.logits['pred'], np.stack(z))


class Evil:
    def __reduce__(self):
        return print, ('ran',)


@pytest.mark.parametrize('value', [[Evil()], {'no': 'list'}, [], [{'other': 1}]])
def test_anything_else_is_refused(tmp_path, value, capsys):
    with pytest.raises(SourceError):
        read_scores(dump(tmp_path / 'bad.pkl', value))
    assert 'ran' not in capsys.readouterr().out


def test_code_inside_a_tensor_is_refused(tmp_path, capsys):
    """torch's own loader of a pickled storage would run it."""

    class Storage:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (pickle.dumps(Evil()),)

    with pytest.raises(SourceError):
        read_scores(dump(tmp_path / 'bad.pkl', [Storage()]))
    assert 'ran' not in capsys.readouterr().out
