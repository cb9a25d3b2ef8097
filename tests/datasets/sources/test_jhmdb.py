import re
from collections import Counter
from pathlib import Path

import pytest

from bharnet_mm.datasets.sources.jhmdb import hold_out, read_splits, source_pattern
from bharnet_mm.errors import SourceError

REAL = Path(__file__).resolve().parents[3].parent / 'shared/data/jhmdb_splits.csv'
CSV = """path,label_name,split1,split2,split3
wave/a.avi,wave,train,test,train
wave/b.avi,wave,test,train,train
run/c.avi,run,train,train,test
"""
LISTS = {
    'wave_test_split1.txt': 'a.avi 1\nb.avi 2\n\n',
    'wave_test_split2.txt': 'a.avi 2\nb.avi 1\n',
    'wave_test_split3.txt': 'a.avi 1\nb.avi 1\n',
    'run_test_split1.txt': 'c.avi 1\n',
    'run_test_split2.txt': 'c.avi 1\n',
    'run_test_split3.txt': 'c.avi 2\n',
}


def write_lists(folder, **changed):
    folder.mkdir()
    for name, text in (LISTS | changed).items():
        (folder / name).write_text(text)
    return folder


def test_both_forms_say_the_same(tmp_path):
    (tmp_path / 'splits.csv').write_text(CSV)
    table, lists = read_splits(tmp_path / 'splits.csv'), read_splits(write_lists(tmp_path / 'l'))
    assert {k: sorted(v) for k, v in table.items()} == {k: sorted(v) for k, v in lists.items()}
    assert table['jhmdb1_train'] == ['wave/a', 'run/c'] and table['jhmdb1_test'] == ['wave/b']
    assert table['jhmdb3_test'] == ['run/c']
    assert set(table) - {f'jhmdb{k}_{side}' for k in '123' for side in ('train', 'test')} == {
        'jhmdb3_fit',
        'jhmdb3_held',
    }


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(SourceError, match='no split files'):
        read_splits(tmp_path)
    with pytest.raises(SourceError, match='line 1.*b.avi 3'):
        read_splits(write_lists(tmp_path / 'a', **{'wave_test_split2.txt': 'b.avi 3\n'}))
    (tmp_path / 'x.csv').write_text(CSV.replace('run,train,train', 'run,train,maybe'))
    with pytest.raises(SourceError, match='line 4'):
        read_splits(tmp_path / 'x.csv')
    (tmp_path / 'y.csv').write_text(CSV.replace('test', 'train'))
    with pytest.raises(SourceError, match="no clip of .*'jhmdb1_test'"):
        read_splits(tmp_path / 'y.csv')


@pytest.mark.parametrize(
    ('path', 'source'),
    [
        ('run/Cindy_Run_run_f_nm_np1_fr_med_1.avi', 'Cindy_Run'),
        ('shoot_ball/a_shoot_ball_u_nm_np1_ba_med_13.avi', 'a'),
        (f'run/{"x" * 40}_run_f_nm_np1_fr_med_1.avi', 'x' * 32),
    ],
)
def test_the_source_of_a_clip_is_its_subject(path, source):
    pattern = source_pattern({'jhmdb1_train': ['run/a'], 'jhmdb1_test': ['shoot_ball/b']})
    assert re.search(pattern, path)[1] == source


def test_clips_of_one_source_are_held_out_together():
    ids = [f'run/{source}_run_u_{i}' for source in 'abcd' for i in range(2)]
    ids += [f'sit/long_sit_u_{i}' for i in range(3)] + ['sit/short_sit_u_0']
    fit, held = hold_out(ids)
    assert sorted(fit + held) == sorted(ids)
    sources = {
        name: {i.split('_')[0] for i in part} for name, part in (('fit', fit), ('held', held))
    }
    assert not sources['fit'] & sources['held']
    # A quarter of the first class is one source of four; the larger of two is never held out.
    assert len(held) == 3 and 'sit/short_sit_u_0' in held
    assert hold_out(['sit/a_sit_0', 'sit/a_sit_1']) == (['sit/a_sit_0', 'sit/a_sit_1'], [])


@pytest.mark.skipif(not REAL.exists(), reason='shared/data/jhmdb_splits.csv is not here')
def test_the_real_splits():
    splits = read_splits(REAL)
    sizes = Counter({name: len(ids) for name, ids in splits.items()})
    assert [sizes[f'jhmdb{k}_train'] for k in (1, 2, 3)] == [660, 658, 663]
    for k in (1, 2, 3):
        train, test = set(splits[f'jhmdb{k}_train']), set(splits[f'jhmdb{k}_test'])
        assert not train & test and len(train | test) == 928
        assert set(splits[f'jhmdb{k}_fit']) | set(splits[f'jhmdb{k}_held']) == train
        assert 0.25 < len(splits[f'jhmdb{k}_held']) / len(train) < 0.4
