import json
from types import SimpleNamespace

import numpy as np
import pytest
from command import run_tool
from mmengine.config import Config
from tiny_sample import write_tiny_sample

from bharnet_mm.apis.fit_fusion import check_config, fit, part_config, parts_of, present, store_in
from bharnet_mm.apis.recognizer import load_recognizer
from bharnet_mm.datasets import ClipStore
from bharnet_mm.datasets.store.splits import absent_values, match
from bharnet_mm.errors import ConfigError
from bharnet_mm.evaluation import Scores, load_scores
from bharnet_mm.io.weights import load_weights


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    return write_tiny_sample(tmp_path_factory.mktemp('tiny'), epochs=1)


@pytest.fixture(scope='module')
def store(tiny):
    return ClipStore(tiny.parent / 'store')


def chosen(store, rule):
    return set(store.select(rule).tolist())


@pytest.mark.parametrize('folds', [2, 3])
def test_parts_are_subjects_of_the_training_split_alone(store, folds):
    train = chosen(store, 'xsub_train')
    subject = store.column('subject')
    held_all = []
    for part in parts_of(store, 'xsub_train', folds):
        held, rest = chosen(store, part.held), chosen(store, part.rest)
        assert not held & rest and held | rest == train
        assert not {subject[i] for i in held} & {subject[i] for i in rest}
        held_all += sorted(held)
    assert sorted(held_all) == sorted(train)


def test_subjects_of_one_class_each_are_spread_class_by_class():
    """As in JHMDB, where the subject is the source video of a clip."""
    sizes = {0: [5, 4, 1], 1: [3, 3], 2: [2, 2, 2, 2]}
    clips = [
        (f'{label}{source}', label)
        for label, counts in sizes.items()
        for source, count in enumerate(counts)
        for _ in range(count)
    ]
    subjects, labels = np.array([s.encode() for s, _ in clips]), np.array([x for _, x in clips])
    every = SimpleNamespace(
        select=lambda split: np.arange(len(clips)),
        column=lambda name: subjects,
        labels=labels,
        classes=('a', 'b', 'c'),
        splits={},
    )
    for part in parts_of(every, None, 2):
        rest = np.isin(subjects, [s.encode() for s in part.rest['exclude'][0]['subject']])
        assert np.bincount(labels[~rest], minlength=3).tolist() == [5, 3, 4]


def test_without_subjects_each_part_has_its_share_of_every_class(store):
    one = {'subject': [store.column('subject')[0].decode()]}
    train = chosen(store, one)
    parts = parts_of(store, one, 2)
    helds = [chosen(store, part.held) for part in parts]
    assert helds[0] | helds[1] == train and not helds[0] & helds[1]
    for label in np.unique(store.labels[sorted(train)]):
        counts = [int((store.labels[sorted(held)] == label).sum()) for held in helds]
        assert abs(counts[0] - counts[1]) <= 1
    assert parts == parts_of(store, one, 2)


def test_rules_of_the_split_stay(store):
    rule = {'label': ['0', '1', '2'], 'exclude': {'subject': ['1']}}
    try:
        train = chosen(store, rule)
    except ConfigError:
        pytest.skip('no such subject in the sample')
    for part in parts_of(store, rule, 2):
        assert chosen(store, part.held) | chosen(store, part.rest) == train


def test_too_few_clips_or_folds_are_refused(store):
    for folds, rule in ((1, 'xsub_train'), (2, {'clip_id': [str(store.clip_ids[0])]})):
        with pytest.raises(ConfigError, match='fit-fusion'):
            parts_of(store, rule, folds)


def test_more_folds_than_subjects_are_refused_before_the_training(tiny, store, tmp_path):
    subjects = {store.column('subject')[i] for i in store.select('xsub_train')}
    parts_of(store, 'xsub_train', len(subjects))
    with pytest.raises(ConfigError, match=f'training clips of {len(subjects)} subjects'):
        parts_of(store, 'xsub_train', len(subjects) + 1)
    work = tmp_path / 'work'
    said = run_tool('train.py', tiny, '--work-dir', work, '--fit-fusion', 99, status=1)
    assert '--fit-fusion: found 99 folds' in said and 'epoch' not in said
    assert not list(work.rglob('*.pth')) if work.exists() else True


def test_a_fold_that_leaves_one_class_is_refused():
    """Each of two subjects shows a class of its own."""
    subjects, labels = np.repeat([b'S1', b'S2'], 4), np.repeat([0, 1], 4)
    every = SimpleNamespace(
        select=lambda split: np.arange(8),
        column=lambda name: subjects,
        labels=labels,
        classes=('a', 'b'),
        splits={},
    )
    with pytest.raises(ConfigError, match='clips of 1 class only'):
        parts_of(every, None, 2)


def test_a_part_is_trained_and_tested_inside_the_training_clips(tiny, store):
    cfg = Config.fromfile(tiny)
    part = parts_of(store, 'xsub_train')[0]
    inner = part_config(cfg, part)
    train, test = inner.train_dataloader.dataset, inner.test_dataloader.dataset
    assert train.split == part.rest and test.split == part.held
    assert test.pipeline == cfg.test_dataloader.dataset.pipeline
    assert cfg.train_dataloader.dataset.split == 'xsub_train'  # as it was
    compile(inner.pretty_text, 'config', 'exec')


@pytest.mark.parametrize(
    'change',
    [
        {'model.cls_head.fusion_weights': dict(body=0.5)},
        {'model.cls_head.fusion': 'noisy_or'},
        {'model.cls_head.type': 'GCNHead'},
    ],
)
def test_heads_without_open_weights_are_refused(tiny, change):
    cfg = Config.fromfile(tiny)
    check_config(cfg)
    cfg.merge_from_dict(change)
    with pytest.raises(ConfigError, match='fit-fusion'):
        check_config(cfg)


def test_a_weak_expert_no_longer_pulls_the_sum_down():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 8, 400)
    hand = 3 * np.eye(8)[label] + rng.normal(size=(400, 8))
    body = 6 * np.eye(8)[np.where(rng.random(400) < 0.5, label, rng.integers(0, 8, 400))]
    names = np.array([f'c{i}' for i in range(400)])
    scores = Scores(names, label, {'body': body, 'hand': hand}, tuple('abcdefgh'))
    weights, facts = fit(scores)
    results = facts['results']
    assert results['held_out_equal_sum_top1'] < results['held_out_hand_top1']
    assert results['held_out_top1'] >= results['held_out_hand_top1'] - 0.005
    assert weights['hand'] > weights['body'] > 0
    assert facts['shares']['hand'] + facts['shares']['body'] == pytest.approx(1, abs=1e-3)
    assert 0 < facts['unsure_below'] < 1 and results['held_out_ece'] < 0.1


def test_train_fits_test_and_card_use(tiny, tmp_path):
    work = tmp_path / 'run'
    arguments = (tiny, '--work-dir', work, '--no-validate', '--seed', '3', '--fit-fusion')
    printed = run_tool('train.py', *arguments)
    assert 'fusion weights, from 80 training clips' in printed
    checkpoint = load_weights(work / 'epoch_1.pth')
    held_out = checkpoint['meta']['held_out']
    stored = checkpoint['state_dict']['cls_head.fusion_weight']
    # values that can be told from the plain sum
    store_in(work / 'epoch_1.pth', dict(body=0.25, hand=1.5), held_out)
    run_tool(
        'test.py', tiny, work / 'epoch_1.pth', '--work-dir', work / 't', '--dump', work / 's.npz'
    )
    scores = load_scores(work / 's.npz')
    assert scores.facts['fusion_weights'] == {'body': 0.25, 'hand': 1.5}
    z = 0.25 * scores.logits['body'] + 1.5 * scores.logits['hand']
    z -= np.log(np.exp(z).sum(1, keepdims=True))
    np.testing.assert_allclose(np.exp(scores.logits['pred']), np.exp(z), atol=1e-5)
    model = load_recognizer(tiny, work / 'epoch_1.pth', 'cpu')
    assert model.card.unsure_below == held_out['unsure_below']
    assert model.card.results['held_out_clips'] == 80
    assert model.model.cls_head.fusion_weights == {'body': 0.25, 'hand': 1.5}
    assert stored.shape == (2,) and bool((stored > 0).all())
    json.dumps(model.card.results)


@pytest.mark.parametrize(
    'rule',
    [
        {'subject': ['1', 'nobody'], 'exclude': {'camera': ['none']}},
        {'subject': {'not_in': ['1', 'nobody']}},
        {'exclude': [{'subject': ['1', 'nobody']}, {'camera': {'not_in': ['1', '2', '9']}}]},
        {'subject': {'not_in': ['nobody']}},
    ],
)
def test_a_split_that_names_more_than_a_store_has(store, rule):
    """A part of a data set has not all subjects of the official split, and its folds neither."""
    index, classes = store._index, store.classes
    found = match(index, classes, rule, strict=False)
    kept = present(rule, absent_values(index, classes, rule))
    assert found.any() and (match(index, classes, kept, strict=True) == found).all()
