import numpy as np
import pytest
from scipy.stats import binomtest

from bharnet_mm.errors import ConfigError
from bharnet_mm.evaluation import Scores
from bharnet_mm.evaluation.fusion import (
    align,
    bootstrap_interval,
    fuse,
    mcnemar,
    search_weights,
)
from bharnet_mm.evaluation.measures import softmax

RNG = np.random.default_rng(0)
LABEL = RNG.integers(0, 4, 40)


def perfect(order, ids='c', classes=tuple('abcd')):
    names = np.array([f'{ids}{i}' for i in order])
    return Scores(names, LABEL[order], {'pred': 9 * np.eye(4, dtype='f4')[LABEL[order]]}, classes)


def test_two_perfect_files_in_different_order_fuse_to_one():
    a, b = perfect(np.arange(40)), perfect(RNG.permutation(40))
    members = align({'a': a, 'b': b})
    fused = fuse([s.logits['pred'] for s in members.values()])
    assert (fused.argmax(1) == a.label).all()
    # what aligning by position would have given
    wrong = fuse([a.logits['pred'], b.logits['pred']])
    assert (wrong.argmax(1) == a.label).mean() < 1


def test_other_clips_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"b against a.*10 clips missing, such as 'c\d+'"):
        align({'a': perfect(np.arange(40)), 'b': perfect(np.arange(30))})
    with pytest.raises(ConfigError, match=r"such as 'd0'"):
        align({'a': perfect(np.arange(40)), 'b': perfect(np.arange(40), 'd')})


def test_other_labels_and_classes_are_refused():
    a = perfect(np.arange(40))
    other = Scores(a.clip_id, (a.label + 1) % 4, a.logits, a.classes)
    with pytest.raises(ConfigError, match='40 labels that differ'):
        align({'a': a, 'b': other})
    with pytest.raises(ConfigError, match='classes'):
        align({'a': a, 'b': perfect(np.arange(40), classes=tuple('abdc'))})
    # a file that knows only the number of classes goes with any names
    align({'a': a, 'b': perfect(np.arange(40), classes=tuple('0123'))})


def test_fusions_are_their_equations():
    z = [RNG.normal(size=(5, 3)) for _ in range(2)]
    p, w = [softmax(v) for v in z], [0.7, 0.2]
    shapes = {
        'sum': p[0] ** w[0] * p[1] ** w[1],
        'mean_prob': w[0] * p[0] + w[1] * p[1],
        'noisy_or': 1 - (1 - p[0]) ** w[0] * (1 - p[1]) ** w[1],
    }
    for method, value in shapes.items():
        expected = value / value.sum(1, keepdims=True)
        np.testing.assert_allclose(np.exp(fuse(z, w, method)), expected, rtol=1e-9)


def test_sum_orders_as_the_sum_of_logits():
    z = [100 * RNG.normal(size=(50, 6)) for _ in range(3)]
    np.testing.assert_array_equal(fuse(z).argmax(1), sum(z).argmax(1))
    assert np.isfinite(fuse(z, method='noisy_or')).all()


def test_one_member_is_itself():
    z = RNG.normal(size=(5, 3))
    for method in ('sum', 'mean_prob', 'noisy_or'):
        np.testing.assert_allclose(np.exp(fuse([z], method=method)), softmax(z), rtol=1e-6)


@pytest.mark.parametrize('weights', [[1], [1, -1], [0, 0]])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(ConfigError, match='weights'):
        fuse([np.zeros((2, 2))] * 2, weights)


def test_search_prefers_who_knows():
    good = 4 * np.eye(4)[LABEL] + RNG.normal(size=(40, 4))
    bad = 9 * np.eye(4)[RNG.integers(0, 4, 40)]
    weights, top1 = search_weights([bad, good], LABEL)
    assert sum(weights) == pytest.approx(1) and weights[1] > weights[0] and top1 > 0.9


def test_bootstrap_covers_about_as_often_as_it_says():
    rounds = 300
    inside = 0
    for i in range(rounds):
        sample = np.random.default_rng(i).random(200) < 0.8
        low, high = bootstrap_interval(sample, rounds=500, seed=i)
        inside += low <= 0.8 <= high
    assert 0.90 < inside / rounds < 0.98


def test_mcnemar_is_the_binomial_test():
    a, b = np.zeros(100, bool), np.zeros(100, bool)
    a[:70], b[:50] = True, True
    b[90:95] = True
    result = mcnemar(a, b)
    assert (result['only_a'], result['only_b']) == (20, 5)
    assert result['p_value'] == pytest.approx(binomtest(5, 25, 0.5).pvalue)
    assert mcnemar(a, a)['p_value'] == 1
