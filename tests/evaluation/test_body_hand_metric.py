import pytest
import torch

from bharnet_mm.errors import ConfigError
from bharnet_mm.evaluation import BodyHandMetric, load_scores


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
    expected = {
        'acc/top1': 3 / 4,
        'acc/top5': 1.0,
        'acc/mean1': (1 + 1 / 2 + 1) / 3,
        'acc/ece': (abs(1 - 1.4) + 0.2 + 0.2) / 4,  # .7 .7 in one bin, .8 .8 right in another
        'acc/body_top1': 2 / 4,
        'acc/body_mean1': (1 + 0 + 1) / 3,
        'acc/hand_top1': 2 / 4,
        'acc/hand_top5': 1.0,
    }
    assert {name: result[name] for name in expected} == pytest.approx(expected)
    scores = load_scores(tmp_path / 'scores.npz')
    assert scores.clip_id.tolist() == ['c0', 'c1', 'c2', 'c3'] and scores.classes == ('a', 'b', 'c')
    assert scores.top1('pred') == 3 / 4 and scores.top1('body') == 2 / 4


def test_groups_of_classes_for_every_expert():
    metric = BodyHandMetric(class_groups={'late': ['b', 'c']})
    metric.dataset_meta = dict(classes=['a', 'b', 'c'])
    metric.process(None, SAMPLES)
    result = metric.evaluate(4)
    assert result['acc/late_top1'] == pytest.approx(2 / 3)
    assert result['acc/body_late_top1'] == pytest.approx(1 / 3)
    assert result['acc/hand_late_top1'] == pytest.approx(2 / 3)


def test_unknown_group_is_refused():
    metric = BodyHandMetric(class_groups=['ntu_hand_27'])
    metric.dataset_meta = dict(classes=['a', 'b', 'c'])
    metric.process(None, SAMPLES)
    with pytest.raises(ConfigError, match='reading'):
        metric.evaluate(4)


def test_needs_clip_ids():
    with pytest.raises(ConfigError, match='PackBodyHand'):
        BodyHandMetric().process(None, [{k: v for k, v in SAMPLES[0].items() if k != 'clip_id'}])
