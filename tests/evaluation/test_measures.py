import numpy as np
import pytest

from bharnet_mm.datasets.protocols import NTU_CLASSES, NTU_HAND_11
from bharnet_mm.errors import ConfigError
from bharnet_mm.evaluation.measures import (
    calibration_error,
    confidence,
    group_members,
    mean_class_accuracy,
    measure,
    separation,
    softmax,
    top_k,
)


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


def test_calibration_error_equals_binning():
    rng = np.random.default_rng(1)
    p = softmax(3 * rng.normal(size=(300, 4)))
    label = rng.integers(0, 4, 300)
    confidence, right = p.max(1), p.argmax(1) == label
    expected = 0
    for low in np.arange(10) / 10:
        inside = (confidence >= low) & (confidence < low + 0.1)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert calibration_error(p, label, bins=10) == pytest.approx(expected)


def test_calibration_error_at_its_ends():
    sure = np.eye(2)[[0, 1, 0, 1]]
    assert calibration_error(sure, np.array([0, 1, 0, 1])) == 0
    assert calibration_error(sure, np.array([1, 0, 1, 0])) == 1
    half = np.full((4, 2), 0.5)
    assert calibration_error(half, np.array([0, 0, 1, 1])) == 0  # says half, is right in half


def test_named_group_has_its_classes():
    members = group_members(['ntu_hand_11'], NTU_CLASSES)['ntu_hand_11']
    assert [NTU_CLASSES[i] for i in members] == list(NTU_HAND_11)


@pytest.mark.parametrize('groups', [['nobody'], {'mine': ['flying']}, {'mine': []}])
def test_groups_that_do_not_fit_are_refused(groups):
    with pytest.raises(ConfigError, match='class_groups'):
        group_members(groups, NTU_CLASSES)


def test_group_accuracy_is_of_its_clips_against_all_classes():
    scores = np.array([[0.6, 0.4, 0.0], [0.1, 0.2, 0.7], [0.1, 0.7, 0.2]])
    label = np.array([0, 1, 1])
    result = measure(scores, label, {'one': np.array([1]), 'none': np.array([2])})
    assert result['one_top1'] == 0.5 and 'none_top1' not in result


def test_agreement_is_low_where_an_expert_disagrees():
    fused = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
    nan = [np.nan, np.nan]
    experts = {
        'body': np.array([[0.9, 0.1], [0.96, 0.04], nan, nan]),
        'hand': np.array([[0.9, 0.1], [0.04, 0.96], [0.5, 0.5], nan]),
    }
    np.testing.assert_allclose(confidence('probability', fused, experts), [0.9, 0.9, 0.9, 0.8])
    expected = [0.9, np.sqrt(0.96 * 0.04), 0.5, 0.8]
    np.testing.assert_allclose(confidence('agreement', fused, experts), expected)
    np.testing.assert_allclose(confidence('agreement', fused, {}), fused.max(1))


def test_separation_counts_pairs():
    random = np.random.default_rng(0)
    known, unknown = random.integers(0, 9, 40), random.integers(0, 7, 30)
    pairs = (known[:, None] > unknown) + 0.5 * (known[:, None] == unknown)
    assert separation(known, unknown) == pytest.approx(pairs.mean())
