import numpy as np
import pytest
import torch

from bharnet_mm.errors import ConfigError
from bharnet_mm.evaluation import BodyHandMetric, load_scores
from bharnet_mm.evaluation.body_hand_metric import mean_class_accuracy, top_k


def sample(i, label, score, **logits):
    fields = {f'{k}_logits': torch.tensor(v) for k, v in logits.items()}
    return dict(
        clip_id=f'c{i}', gt_label=torch.tensor([label]), pred_score=torch.tensor(score), **fields
    )


SAMPLES = [
    sample(0, 0, [0.7, 0.2, 0.1], body=[3.0, 0.0, 0.0], hand=[0.0, 1.0, 0.0]),
    sample(1, 1, [0.7, 0.2, 0.1], body=[3.0, 0.0, 0.0], hand=[0.0, 1.0, 0.0]),
    sample(2, 1, [0.1, 0.8, 0.1], body=[3.0, 0.0, 0.0], hand=[0.0, 1.0, 0.0]),
    sample(3, 2, [0.1, 0.1, 0.8], body=[0.0, 0.0, 1.0], hand=[0.0, 0.0, 0.0]),
]


def test_values_and_score_file(tmp_path):
    metric = BodyHandMetric(scores_file=str(tmp_path / 'scores.npz'))
    metric.dataset_meta = dict(classes=['a', 'b', 'c'])
    metric.process(None, SAMPLES[:2])
    metric.process(None, SAMPLES[2:])
    result = metric.evaluate(4)
    assert result == pytest.approx(
        {
            'acc/top1': 3 / 4,
            'acc/top5': 1.0,
            'acc/mean1': (1 + 1 / 2 + 1) / 3,
            'acc/body_top1': 2 / 4,
            'acc/hand_top1': 2 / 4,
        }
    )
    scores = load_scores(tmp_path / 'scores.npz')
    assert scores.clip_id.tolist() == ['c0', 'c1', 'c2', 'c3'] and scores.classes == ('a', 'b', 'c')
    assert scores.top1('pred') == 3 / 4 and scores.top1('body') == 2 / 4


def test_top_k_equals_sorting():
    rng = np.random.default_rng(0)
    scores, label = rng.normal(size=(50, 9)), rng.integers(0, 9, 50)
    for k in (1, 3, 9):
        expected = np.mean([y in np.argsort(-s)[:k] for s, y in zip(scores, label, strict=True)])
        assert top_k(scores, label, k) == pytest.approx(expected)
    # all equal: argmax says class 0
    assert top_k(np.zeros((3, 4)), np.array([0, 1, 2]), 1) == pytest.approx(1 / 3)


def test_mean_class_accuracy_ignores_class_sizes():
    label = np.array([0] * 9 + [1])
    assert mean_class_accuracy(np.zeros(10, int), label) == 0.5


def test_needs_clip_ids():
    with pytest.raises(ConfigError, match='PackBodyHand'):
        BodyHandMetric().process(None, [{k: v for k, v in SAMPLES[0].items() if k != 'clip_id'}])
