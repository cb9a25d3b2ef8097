import pytest

from bharnet_mm.datasets import ClipStore
from bharnet_mm.datasets.extraction.own_splits import Labelled, OwnSplits
from bharnet_mm.datasets.ingest import Report
from bharnet_mm.errors import ConfigError


@pytest.fixture
def store(write_store, make_clip, tmp_path):
    """Ten clips of `a`, five of `b`, one of `c`; three subjects."""
    clips = [
        make_clip(
            clip_id=f'{"aaaaaaaaaabbbbbc"[i]}{i}',
            label='abc'.index('aaaaaaaaaabbbbbc'[i]),
            subject=f'S{i % 3}',
        )
        for i in range(16)
    ]  # fmt: skip
    return ClipStore(write_store(clips=clips, name='own', classes=['a', 'b', 'c'], splits={}))


def ids(store, rule):
    return {str(store.clip_ids[i]) for i in store.select(rule)}


def test_by_subject(store):
    rules = OwnSplits(test_subjects=('S1',)).rules(Labelled.of(store), Report())
    train, test = ids(store, rules['own_train']), ids(store, rules['own_test'])
    assert test == {f'{"aaaaaaaaaabbbbbc"[i]}{i}' for i in range(16) if i % 3 == 1}
    assert len(train) == 16 - len(test) and not train & test


def test_leave_one_out(store):
    rules = OwnSplits(leave_one_out=True).rules(Labelled.of(store), Report())
    assert sorted(rules) == [f'S{i}_{side}' for i in range(3) for side in ('test', 'train')]
    for i in range(3):
        train, test = ids(store, rules[f'S{i}_train']), ids(store, rules[f'S{i}_test'])
        assert len(train | test) == 16 and not train & test


def test_a_share_of_each_class(store):
    report = Report()
    rules = OwnSplits(test_share=0.2, seed=1).rules(Labelled.of(store), report)
    train, test = ids(store, rules['own_train']), ids(store, rules['own_test'])
    assert len(train | test) == 16 and not train & test
    assert [sum(i[0] == c for i in test) for c in 'abc'] == [2, 1, 0]
    assert any("one clip are for training only: ['c']" in note for note in report.notes)
    assert OwnSplits(test_share=0.2, seed=1).rules(Labelled.of(store), Report()) == rules
    others = [
        OwnSplits(test_share=0.2, seed=s).rules(Labelled.of(store), Report()) for s in range(2, 6)
    ]
    assert any(other != rules for other in others)


@pytest.mark.parametrize(
    ('fields', 'said'),
    [
        (dict(test_subjects=('S9',)), "'S9'"),
        (dict(test_subjects=('S0', 'S1', 'S2')), 'some but not all'),
        (dict(test_subjects=('S0',), test_share=0.2), 'choose one'),
        (dict(test_share=1.5), 'less than 1'),
    ],
)
def test_wrong_choices(store, fields, said):
    with pytest.raises(ConfigError, match=said):
        OwnSplits(**fields).rules(Labelled.of(store), Report())


def test_clips_without_a_subject(write_store, make_clip):
    store = ClipStore(write_store(clips=[make_clip(clip_id='x', subject='', label=0)], splits={}))
    with pytest.raises(ConfigError, match='subject-regex'):
        OwnSplits(leave_one_out=True).rules(Labelled.of(store), Report())
