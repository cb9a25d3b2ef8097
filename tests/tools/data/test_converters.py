"""The command lines of the converters, from files on disk to an opened store."""

import ast
import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bharnet_mm.datasets.sources.ntu_text import SkeletonText, format_skeleton
from bharnet_mm.datasets.store import ClipStore
from bharnet_mm.errors import ConfigError, SourceError
from bharnet_mm.io.safe_pickle import load_pickle

ROOT = Path(__file__).parents[3]


def tool(name):
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / f'tools/data/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *args: module.command([*map(str, args), '--workers', '1'])


def write_skeleton(folder, clip_id, frames=20, seed=0):
    rng = np.random.default_rng(seed)
    joints = rng.normal(size=(frames, 25, 12))
    joints[..., 11] = 2
    numbers = np.arange(frames, dtype=np.int32)
    text = SkeletonText(frames, numbers, numbers * 0 + 7, np.zeros((frames, 9)), joints)
    folder.mkdir(exist_ok=True, parents=True)
    (folder / f'{clip_id}.skeleton').write_bytes(format_skeleton(text))


@pytest.fixture
def ntu(tmp_path):
    for n, clip_id in enumerate(
        [
            'S001C001P001R001A001',
            'S001C002P003R002A013',
            'S002C003P003R001A060',
            'S018C001P045R001A120',
            'S001C002P005R002A008',
        ]
    ):
        write_skeleton(tmp_path / 'raw', clip_id, 10 + n, n)
    (tmp_path / 'raw' / 'S001C001P001R001A002.skeleton').write_bytes(b'1\n1\n')
    (tmp_path / 'missing.txt').write_text('some prose\nS001C002P005R002A008\n')
    return tmp_path / 'raw', tmp_path / 'out', '--missing', tmp_path / 'missing.txt'


def test_ntu(ntu, capsys, tmp_path):
    assert tool('ntu')(*ntu, '--report', tmp_path / 'r.json') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.clip_ids.tolist() == [
        'S001C001P001R001A001',
        'S001C002P003R002A013',
        'S002C003P003R001A060',
        'S018C001P045R001A120',
    ]
    assert len(store.classes) == 120 and not store.has_hands and store.verify() == []
    assert store.labels.tolist() == [0, 12, 59, 119]
    assert store[1].body_pixel.shape == (1, 11, 25, 2)
    assert {'xsub_train', 'xset_test', 'ntu60_xview_train'} <= set(store.splits)
    assert store.select({'subject': ['3']}).tolist() == [1, 2]
    printed = capsys.readouterr().out
    assert 'found     6 files' in printed and 'kept      4 clips, 46 frames' in printed
    assert '1  ill-formed' in printed and '1  on the list of missing skeletons' in printed
    report = json.loads((tmp_path / 'r.json').read_text())
    assert 'end of the file' in str(report['refused']['ill-formed'])


def test_ntu60_leaves_the_later_setups_out(ntu, tmp_path):
    assert tool('ntu')(*ntu, '--dataset', 'ntu60') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.labels.tolist() == [0, 12, 59] and len(store.classes) == 60
    assert set(store.splits) == {'xsub_train', 'xsub_test', 'xview_train', 'xview_test'}


def test_resume_adds_what_is_new(ntu, tmp_path, capsys):
    assert tool('ntu')(*ntu) == 0
    with pytest.raises(ConfigError, match='--resume'):
        tool('ntu')(*ntu)
    write_skeleton(tmp_path / 'raw', 'S003C001P001R001A005')
    capsys.readouterr()
    assert tool('ntu')(*ntu, '--resume') == 0
    printed = capsys.readouterr().out
    assert 'skipped   4 clips' in printed and 'kept      1 clips' in printed
    assert ClipStore(tmp_path / 'out').clip_ids[-1] == 'S003C001P001R001A005'
    assert tool('ntu')(*ntu, '--overwrite') == 0
    assert ClipStore(tmp_path / 'out').clip_ids[-1] == 'S018C001P045R001A120'


def test_overwrite_touches_only_stores(ntu, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'thesis.tex').touch()
    for option in ('--overwrite', '--resume'):
        with pytest.raises(ConfigError, match='not a clip store'):
            tool('ntu')(*ntu, option)
    assert (tmp_path / 'out' / 'thesis.tex').exists()


def test_nothing_kept_is_a_failure(tmp_path):
    (tmp_path / 'raw').mkdir()
    (tmp_path / 'raw' / 'S001C001P001R001A002.skeleton').write_bytes(b'1\n1\n')
    assert tool('ntu')(tmp_path / 'raw', tmp_path / 'out') == 1
    with pytest.raises(SourceError):
        tool('ntu')(tmp_path / 'raw', tmp_path / 'out2', '--strict')


def test_pku_mmd(tmp_path, capsys):
    for name in ('data', 'labels', 'Split'):
        (tmp_path / name).mkdir()
    body = np.random.default_rng(0).normal(size=(60, 150))
    body[:, 75:] = 0
    for name in ('0002-L', '0003-M', '0004-R', '0005-L'):
        np.savetxt(tmp_path / 'data' / f'{name}.txt', body, fmt='%.6f')
        labels = '1,50,40,2\n' if name == '0005-L' else '26,10,19,2\n51,30,59,1\n'
        (tmp_path / 'labels' / f'{name}.txt').write_text(labels)
    split = 'Training videos:\n0002-L, 0003-M, 0009-R, \n\nValidataion videos:\n'
    split = split.replace('\n\n', '\n') + '0004-R, 0005-L\n'
    for name in ('cross-subject', 'cross-view'):
        (tmp_path / 'Split' / f'{name}.txt').write_text(split)
    args = [tmp_path / 'data', tmp_path / 'out', '--labels', tmp_path / 'labels']
    args += ['--splits', tmp_path / 'Split']
    assert tool('pku_mmd')(*args) == 0
    store = ClipStore(tmp_path / 'out')
    assert len(store) == 6 and len(store.classes) == 51 and store.verify() == []
    assert len(store.select('xsub_train')) == 4 and len(store.select('xview_test')) == 2
    printed = capsys.readouterr().out
    assert 'instance without frames (end before start)' in printed
    assert 'split xsub_train: 1 recordings without a clip (0009-R)' in printed
    assert tool('pku_mmd')(*args, '--resume') == 0
    assert 'skipped   6 clips' in capsys.readouterr().out
    assert len(ClipStore(tmp_path / 'out')) == 6


def test_nucla(tmp_path):
    (tmp_path / 'json').mkdir()
    body = np.random.default_rng(0).normal(size=(4, 20, 3)).tolist()
    for clip_id, label in (('a01_s01_e00_v01', 1), ('a12_s01_e00_v03', 10), ('a11_s01_e00_v02', 9)):
        record = dict(file_name=clip_id, skeletons=body, label=label)
        (tmp_path / 'json' / f'{clip_id}.json').write_text(json.dumps(record))
    assert tool('nucla')(tmp_path / 'json', tmp_path / 'out') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.labels.tolist() == [0, 8, 9] and store.classes[9] == 'carry'
    assert len(store.select('xview_train')) == 2 and len(store.select('xview_test')) == 1


@pytest.mark.skipif(
    not (ROOT.parent / 'shared/data/nucla_all_sqe.tgz').is_file(),
    reason='nucla_all_sqe.tgz is not at hand',
)
def test_nucla_the_real_thing(tmp_path):
    assert tool('nucla')(ROOT.parent / 'shared/data/nucla_all_sqe.tgz', tmp_path / 'out') == 0
    store = ClipStore(tmp_path / 'out')
    assert (len(store), len(store.select('xview_train')), len(store.select('xview_test'))) == (
        1484,
        1020,
        464,
    )
    assert np.bincount(store.labels).tolist() == [150, 152, 141, 173, 148, 149, 142, 142, 145, 142]
    assert int(store.column('frames').sum()) == 58534


def test_pyskl_in_and_out(tmp_path, capsys):
    rng = np.random.default_rng(0)
    records = [
        dict(
            frame_dir=f'clip{n}',
            label=n % 2,
            total_frames=5,
            img_shape=(480, 640),
            keypoint=rng.random((1, 5, 133, 2), dtype=np.float32) * 100,
            keypoint_score=rng.random((1, 5, 133), dtype=np.float32),
        )
        for n in range(4)
    ]
    records[3]['total_frames'] = 6
    data = dict(split=dict(train=['clip0', 'clip3'], val=['clip1', 'clip2']), annotations=records)
    (tmp_path / 'in.pkl').write_bytes(pickle.dumps(data))
    assert tool('pyskl')(tmp_path / 'in.pkl', tmp_path / 'out') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.body_layout.name == 'coco' and store.has_hands and store.classes == ['0', '1']
    assert store.select('train').tolist() == [0] and store.select('test').tolist() == [1, 2]
    assert 'split train: 1 ids without a clip' in capsys.readouterr().out
    out = tmp_path / 'out.pkl'
    assert tool('pyskl')('--export', tmp_path / 'out', out, '--part', 'unified') == 0
    annotations = load_pickle(out)['annotations']
    assert [a['keypoint'].shape for a in annotations] == [(1, 5, 59, 2)] * 3
    with pytest.raises(ConfigError, match='--overwrite'):
        tool('pyskl')('--export', tmp_path / 'out', out)


@pytest.mark.parametrize('name', ['ntu', 'pku_mmd', 'nucla', 'pyskl'])
def test_help(name, capsys):
    with pytest.raises(SystemExit) as leave:
        tool(name)('--help')
    assert leave.value.code == 0
    printed = capsys.readouterr().out
    assert f'python tools/data/{name}.py' in printed and '--resume' in printed


def test_an_error_has_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / 'tools/data/ntu.py', tmp_path / 'none', tmp_path / 'out'],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'},
    )
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'error: ' in done.stderr and 'no .skeleton file' in done.stderr


def test_options_that_converters_share_are_defined_once():
    """An option has its name, default and help in one place, for all converters that take it."""
    places = {}
    for path in [*ROOT.glob('tools/data/*.py'), *ROOT.glob('bharnet_mm/apis/[ce]*.py')]:
        for node in ast.walk(ast.parse(path.read_text())):
            if getattr(getattr(node, 'func', None), 'attr', None) == 'add_argument':
                name, *_ = (ast.unparse(part) for part in node.args)
                help_text = {k.arg: ast.unparse(k.value) for k in node.keywords}.get('help')
                if name.startswith("'--"):
                    places.setdefault(name, []).append((path.name, help_text))
    for shared in ('subject-from', 'image-size', 'workers', 'timeout', 'overwrite', 'report'):
        assert [file for file, _ in places[f"'--{shared}'"]] == ['converter.py'], shared
    for name, found in places.items():
        texts = [text for _, text in found]
        assert len(texts) == len(set(texts)), f'{name} stands in {[file for file, _ in found]}'
