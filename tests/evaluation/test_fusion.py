import numpy as np
import pytest
from scipy.stats import binomtest

from bharnet_mm.errors import ConfigError
from bharnet_mm.evaluation import Scores
from bharnet_mm.evaluation.fusion import (
    align,
    bootstrap_interval,
    fit_temperature,
    fit_weights,
    fuse,
    mcnemar,
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


def opinions(strength, label, rng, classes=4):
    """Logits of a member that is right the more often the stronger it is."""
    return strength * np.eye(classes)[label] + rng.normal(size=(len(label), classes))


def test_fitted_weights_prefer_who_knows():
    good = 4 * np.eye(4)[LABEL] + RNG.normal(size=(40, 4))
    bad = 9 * np.eye(4)[RNG.integers(0, 4, 40)]
    for order in ([bad, good], [good, bad]):
        fitted = fit_weights(order, LABEL)
        known = [i for i in range(2) if order[i] is good][0]
        assert fitted.shares[known] > 0.8 and fitted.top1 > 0.9
        assert sum(fitted.shares) == pytest.approx(1) and min(fitted.shares) > 0
        np.testing.assert_allclose(fitted.weights, 2 * np.array(fitted.shares) / fitted.temperature)


OTHERS = {  # evidence for the right class, and how loud the member is
    'noise': (0, 2),
    'loud noise': (0, 6),
    'weak': (1, 2),
    'weak and loud': (1, 6),
    'weak and very loud': (0.5, 20),
    'quiet': (3.2, 0.1),
}


@pytest.mark.parametrize('kind', OTHERS)
@pytest.mark.parametrize('clips, members', [(60, 2), (300, 2), (300, 3)])
def test_fused_is_not_worse_than_the_best_member_on_new_clips(kind, clips, members):
    """Weights are fitted to some clips, accuracies are those of others."""

    def world(number, seed):
        rng = np.random.default_rng(seed)
        label = rng.integers(0, 10, number)
        evidence = [OTHERS[kind]] + [(3.2, 2)] * (members - 1)
        return label, [
            loud * (rng.normal(size=(number, 10)) + known * np.eye(10)[label])
            for known, loud in evidence
        ]

    lost = []
    for seed in range(4):
        label, z = world(clips, seed)
        weights = fit_weights(z, label).weights
        label, z = world(3000, 100 + seed)
        best = max((v.argmax(1) == label).mean() for v in z)
        lost.append(best - (fuse(z, weights).argmax(1) == label).mean())
    assert np.mean(lost) <= 0.005


def test_a_few_clips_leave_the_weights_equal():
    label = np.arange(4)
    better, worse = 2.0 * np.eye(4), np.eye(4)[[0, 1, 2, 0]]
    assert 0.5 <= fit_weights([better, worse], label).shares[0] < 0.7
    # the same evidence many times over is enough
    many = [np.tile(z, (200, 1)) for z in (better, -worse)]
    assert fit_weights(many, np.tile(label, 200)).shares[0] > 0.7


def test_fit_does_not_depend_on_the_scale_of_all_logits():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 4, 3000)
    z = [opinions(2, label, rng), opinions(0.5, label, rng)]
    one, other = fit_weights(z, label), fit_weights([3 * v for v in z], label)
    assert one.shares == other.shares  # but for the prior, which is that of the temperature
    np.testing.assert_allclose(np.array(one.weights) / 3, other.weights, rtol=0.05)


def test_an_absent_member_does_not_count_against_itself():
    rng = np.random.default_rng(2)
    label = rng.integers(0, 4, 400)
    z = [opinions(2, label, rng), opinions(2, label, rng)]
    z[1][::2] = 0  # sees nothing in half of the clips, and is as good in the others
    assert fit_weights(z, label).shares == (0.5, 0.5)


def test_few_right_answers_do_not_make_certain():
    label = np.arange(4)
    assert 0.4 < fit_temperature(4.0 * np.eye(4), label) < 1
    assert fit_temperature(np.zeros((4, 4)), label) == pytest.approx(1, rel=1e-4)


def test_temperature_is_that_of_the_data():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(20000, 5)) * 2
    label = (softmax(z).cumsum(1) > rng.random((20000, 1))).argmax(1)
    for scale in (0.4, 1, 3):
        assert fit_temperature(scale * z, label) == pytest.approx(scale, rel=0.05)


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
