import tracemalloc

import numpy as np
import pytest
from mmengine.config import ConfigDict

from bharnet_mm.datasets import ClipStore
from bharnet_mm.datasets.store.splits import check_rule, plain_rule
from bharnet_mm.errors import ConfigError


@pytest.fixture
def store(write_store):
    """Twelve clips: subject i % 3 + 1, camera i % 2 + 1, label i % 4, source seq(i // 4)."""
    return ClipStore(write_store(12))


@pytest.mark.parametrize(
    ('rule', 'expected'),
    [
        (None, range(12)),
        ('xsub_train', [0, 1, 3, 4, 6, 7, 9, 10]),
        ('xsub_test', [2, 5, 8, 11]),
        ({'subject': '2'}, [1, 4, 7, 10]),
        ({'subject': 2}, [1, 4, 7, 10]),
        ({'subject': [1, '3'], 'camera': {'not_in': [1]}}, [3, 5, 9, 11]),
        ({'label': ['clap', 3], 'source': ['seq0', 'seq2']}, [1, 3, 9, 11]),
        ({'label': {'not_in': 'clap'}, 'source': 'seq1'}, [4, 6, 7]),
        ({'clip_id': ['clip_005', 'clip_001']}, [1, 5]),
        ({'source': 'seq0', 'exclude': [{'subject': ['1'], 'label': ['écrire']}]}, [0, 1, 2]),
        ({'exclude': {'camera': '1'}}, [1, 3, 5, 7, 9, 11]),
        ({'exclude': [{'camera': '1'}, {'label': 3}]}, [1, 5, 9]),
        (ConfigDict(subject=['1'], exclude=[dict(label=['small'])]), [0, 3, 9]),
        ({}, range(12)),
    ],
)
def test_select(store, rule, expected):
    rows = store.select(rule)
    assert rows.dtype == np.int64 and rows.tolist() == list(expected)
    if isinstance(rule, dict):
        assert store.select(plain_rule(rule)).tolist() == list(expected)


@pytest.mark.parametrize(
    ('rule', 'message'),
    [
        ('xview_train', r"split 'xview_train'.*one of \['xsub_test', 'xsub_train'\]"),
        (
            {'subject': ['1', '7']},
            r"subject: found the values \['7'\], which no clip has.*'1', '2'",
        ),
        ({'subject': {'not_in': ['9']}}, r"the values \['9'\]"),
        ({'exclude': [{'subject': 'S1'}]}, r"exclude\[0\], subject: found the values \['S1'\]"),
        ({'clip_id': ['clip_001', 'gone']}, r"\['gone'\]"),
        ({'label': 'wink'}, r"label: found 'wink'.*'wave', 'clap'"),
        ({'label': 4}, 'a number from 0 to 3'),
        ({'subject': '1', 'clip_id': 'clip_001'}, 'that no clip matches'),
        ({'colour': 'red'}, "the field 'colour'"),
        ({'subject': {'only': '1'}}, "expected {'not_in'"),
        ({'subject': []}, 'no values'),
        ({'subject': 1.5}, 'a value or a list'),
        ({'exclude': 'S1'}, 'a list of rules'),
        ({'exclude': [{}]}, 'excludes every clip'),
        (['1'], 'a dict'),
    ],
)
def test_wrong_rules(store, rule, message):
    with pytest.raises(ConfigError, match=message) as error:
        store.select(rule)
    assert 'Fix:' in str(error.value)


def test_rules_are_checked_before_any_clip_is_there():
    check_rule({'subject': ['1'], 'exclude': [{'label': 'x'}]})
    with pytest.raises(ConfigError, match="my split: found the field 'subjects'"):
        check_rule({'subjects': ['1']}, 'my split')


def test_stored_rules_are_plain(write_store):
    rules = {'a_train': {'subject': (1, 2), 'exclude': {'label': {0, 1}}, 'camera': {'not_in': 1}}}
    splits = ClipStore(write_store(12, splits=rules)).splits
    exclude = splits['a_train'].pop('exclude')
    assert splits == {'a_train': {'subject': ['1', '2'], 'camera': {'not_in': ['1']}}}
    assert sorted(exclude[0]['label']) == ['0', '1']


def test_values_of_any_length_take_little_memory(write_store):
    """An array of all values would have room for the longest in each place: two gigabytes here."""
    store = ClipStore(write_store(6))
    tracemalloc.start()
    with pytest.raises(ConfigError, match='which no clip has'):
        store.select({'subject': ['x' * 100_000, *map(str, range(20_000))]})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6
    with pytest.raises(ConfigError, match='a class name or a number'):
        store.select({'label': '1' * 5000})
