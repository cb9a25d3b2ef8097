import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from bharnet_mm.datasets import BodyHandDataset, ClipStore
from bharnet_mm.datasets.sources.holistic import split_vectors
from bharnet_mm.errors import BHaRNetError, SourceError

ROOT = Path(__file__).resolve().parents[3]
ASL10 = ROOT.parent / 'shared' / 'data' / 'asl10.npz'


@pytest.fixture(scope='module')
def command():
    """The tool's command, loaded from its file."""
    spec = importlib.util.spec_from_file_location('tool', ROOT / 'tools' / 'data' / 'holistic.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return lambda *args: tool.command([*map(str, args), '--workers', '1'])


def vectors(seed=0, frames=4, width=258):
    return np.random.default_rng(seed).uniform(0.1, 1, (frames, width)).astype(np.float32)


def save_npz(path, num=6, **change):
    arrays = {
        'keypoint': np.stack([vectors(i) for i in range(num)]),
        'label': np.array(['yes', 'no'])[np.arange(num) % 2],
        'subject': np.array([f'S{i // 2 + 1}' for i in range(num)]),
        'name': np.array([f'clip{i}' for i in range(num)]),
    }
    arrays.update(change)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def save_tree(folder, clips=('yes/0', 'yes/1', 'no/0'), frames=12):
    for number, clip in enumerate(clips):
        (folder / clip).mkdir(parents=True)
        for t, vector in enumerate(vectors(number, frames)):
            np.save(folder / clip / f'{t}.npy', vector)
    return folder


@pytest.mark.parametrize('width', [258, 1662])
def test_split_vectors(width):
    """The order is pose, face, left hand, right hand; a part of zeros is missing."""
    data = vectors(frames=3, width=width)
    data[1, :132] = 0
    data[2, -126:-63] = 0
    parts = split_vectors(data, 'clip')
    assert parts['body'].shape == (1, 3, 33, 3) and parts['hand'].shape == (1, 2, 3, 21, 3)
    for j in (0, 11, 32):
        assert np.array_equal(parts['body'][0, 0, j], data[0, 4 * j : 4 * j + 3])
    assert np.array_equal(parts['hand'][0, 0, 1, 4], data[1, -126 + 12 : -126 + 15])
    assert np.array_equal(parts['hand'][0, 1, 1, 20], data[1, -3:])
    upper = data[0, :132].reshape(33, 4)[:23, 3].mean()
    np.testing.assert_allclose(parts['body_score'][0, [0, 1]], [upper, 0], rtol=1e-6)
    assert parts['hand_score'][0].tolist() == [[1, 1, 0], [1, 1, 1]]


def test_a_pose_that_is_there_is_never_missing():
    data = vectors(frames=2)
    data[:, 3:132:4] = [[0], [7]]  # visibility
    assert split_vectors(data, 'clip')['body_score'][0].tolist() == [np.float32(1e-3), 1]


@pytest.mark.parametrize('data', [np.zeros((3, 257)), np.zeros((3, 258), int), np.zeros(258)])
def test_other_vectors(data):
    with pytest.raises(SourceError, match='my clip: found .*(258)'):
        split_vectors(data, 'my clip')


def test_npz(tmp_path, command, capsys):
    source = save_npz(tmp_path / 'signs.npz')
    assert command(source, tmp_path / 'out') == 0
    assert 'kept      6 clips, 24 frames' in capsys.readouterr().out
    store = ClipStore(tmp_path / 'out')
    assert store.name == 'signs' and store.classes == ['no', 'yes']
    assert store.clip_ids.tolist() == [f'clip{i}' for i in range(6)]
    assert store.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert store.select('S2_test').tolist() == [2, 3]
    assert store.select('S2_train').tolist() == [0, 1, 4, 5]
    assert np.array_equal(store[3].body[0, 2, 5], vectors(3)[2, 20:23])
    assert BodyHandDataset(store, [], split='S1_test')[0]['hand_visible'].all()


@pytest.mark.parametrize(
    ('change', 'classes', 'labels'),
    [
        ({'label': np.array([2, 10, 2, 10, 2, 2])}, ['2', '10'], [0, 1, 0, 1, 0, 0]),
        (
            {'label': np.array([1, 0, 1, 1, 1, 1]), 'classes': np.array(['a', 'b', 'c'])},
            ['a', 'b', 'c'],
            [1, 0, 1, 1, 1, 1],
        ),
        ({'label': np.eye(3)[[0, 2, 1, 1, 1, 0]]}, ['0', '1', '2'], [0, 2, 1, 1, 1, 0]),
    ],
)
def test_forms_of_labels(tmp_path, command, change, classes, labels):
    assert command(save_npz(tmp_path / 'a.npz', **change), tmp_path / 'out') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.classes == classes and store.labels.tolist() == labels


def test_npz_by_other_names_without_subjects(tmp_path, command, capsys):
    data = np.stack([vectors(i) for i in range(3)])
    np.savez(tmp_path / 'a.npz', X=data, y=np.array([0, 1, 0]))
    assert command(tmp_path / 'a.npz', tmp_path / 'out', '--name', 'mine') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.name == 'mine' and store.splits == {}
    assert store.clip_ids.tolist() == ['000000', '000001', '000002']
    assert 'no splits' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'keypoint': None, 'poses': np.zeros(3)},
            r"the arrays \['label', 'subject', 'name', 'pos",
        ),
        ({'label': None}, "one of .*'labels'"),
        ({'label': np.array(['yes'])}, '1 entries of label for 6 clips'),
        ({'keypoint': np.zeros((6, 258), np.float32)}, 'vectors of shape'),
        ({'label': np.zeros(6)}, 'float64 labels'),
        ({'label': np.arange(6), 'classes': np.array(['a'])}, 'labels from 0 to 5'),
        ({'label': np.array(['a', None], object)}, 'not of plain numbers'),
    ],
)
def test_wrong_npz(tmp_path, command, change, message):
    with pytest.raises(SourceError, match=message):
        command(save_npz(tmp_path / 'a.npz', **change), tmp_path / 'out')


def test_damaged_and_lost_files(tmp_path, command):
    (tmp_path / 'a.npz').write_bytes(b'PK\x03\x04 and then nothing')
    for source in (tmp_path / 'a.npz', tmp_path / 'nowhere.npz', tmp_path / 'empty'):
        if source.name == 'empty':
            source.mkdir()
        with pytest.raises(SourceError, match=source.name):
            command(source, tmp_path / 'out')


def test_refused_and_repaired_clips_are_counted(tmp_path, command, capsys):
    data = np.stack([vectors(i) for i in range(6)])
    data[1] = 0
    data[2, 3, 0] = np.nan
    data[4, :2, 140] = np.inf
    names = np.array(['a', 'b', 'c', 'd', 'e', 'd'])
    source = save_npz(tmp_path / 'a.npz', keypoint=data, name=names)
    assert command(source, tmp_path / 'out', '--report', tmp_path / 'report.json') == 0
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['found'] == 6 and report['kept'] == 4
    assert report['repaired'] == {'body or hand frame with NaN or infinity: missing': 3}
    refused = {reason: list(names) for reason, names in report['refused'].items()}
    assert refused == {'no body and no hand in it': ['b'], 'the same clip id again': ['d']}
    store = ClipStore(tmp_path / 'out')
    assert store[store.find('c')].body_score[0].tolist()[3] == 0
    assert 'refused   2' in capsys.readouterr().out


def test_tree_in_the_order_of_the_numbers(tmp_path, command):
    save_tree(tmp_path / 'MP_Data', ['yes/0', 'yes/2', 'yes/10', 'no/0'])
    (tmp_path / 'MP_Data' / '.cache').mkdir()
    assert command(tmp_path / 'MP_Data', tmp_path / 'out') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.classes == ['no', 'yes']
    assert store.clip_ids.tolist() == ['no/0', 'yes/0', 'yes/2', 'yes/10']
    clip = store[1]
    assert clip.frame_index.tolist() == list(range(12))
    assert np.array_equal(clip.body[0, :, 0], vectors(0, 12)[:, :3])  # 2.npy before 10.npy


def test_tree_with_subjects(tmp_path, command):
    save_tree(tmp_path / 'tree', ['yes/ann_0', 'yes/bob_0', 'no/ann_1'], frames=2)
    assert command(tmp_path / 'tree', tmp_path / 'out', '--subject-from', r'/(\w+)_') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.select('ann_test').tolist() == [0, 1] and store[2].subject == 'bob'
    for pattern, message in (('(', 'a regular expression'), ('x', 'a group'), ('x(y)', 'no/ann_1')):
        with pytest.raises(BHaRNetError, match=message):
            command(tmp_path / 'tree', tmp_path / 'other', '--subject-from', pattern)


def remove_frame(clip):
    (clip / '5.npy').unlink()


def wrong_shape(clip):
    np.save(clip / '5.npy', np.zeros(100))


def two_forms(clip):
    np.save(clip / '5.npy', np.ones(1662))


def no_number(clip):
    (clip / '5.npy').rename(clip / 'five.npy')


def twice(clip):
    (clip / '5.npy').rename(clip / '04.npy')


def a_pickle(clip):
    np.save(clip / '5.npy', np.array([{'a': 1}], object), allow_pickle=True)


def torn(clip):
    (clip / '5.npy').write_bytes((clip / '5.npy').read_bytes()[:200])


def late_start(clip):
    (clip / '0.npy').unlink()
    (clip / '1.npy').unlink()


def no_frames(clip):
    for path in clip.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (remove_frame, r'yes/1: found no file of the frames \[5\]'),
        (wrong_shape, r'5.npy: found a float64 array of shape \(100,\)'),
        (two_forms, '5.npy: found 1662 numbers; expected 258'),
        (no_number, 'five.npy: found a name that is not a frame number'),
        (twice, '4.npy: found a name'),
        (a_pickle, '5.npy: found (an array|.*promises)'),
        (torn, '5.npy: found (an array|.*promises)'),
        (late_start, r'no file of the frames \[0, 1\]'),
        (no_frames, 'no frame files'),
    ],
)
def test_a_damaged_clip_is_refused_by_name(tmp_path, command, capsys, spoil, message):
    tree = save_tree(tmp_path / 'tree')
    spoil(tree / 'yes' / '1')
    with pytest.raises(SourceError, match=message):
        command(tree, tmp_path / 'strict', '--strict')
    assert command(tree, tmp_path / 'out') == 0
    text = capsys.readouterr().out
    assert 'kept      2 clips' in text and 'refused   1' in text and 'yes/1' in text
    assert ClipStore(tmp_path / 'out').clip_ids.tolist() == ['no/0', 'yes/0']


def test_frames_counted_from_one(tmp_path, command):
    tree = save_tree(tmp_path / 'tree', ['yes/0'])
    (tree / 'yes' / '0' / '0.npy').unlink()
    assert command(tree, tmp_path / 'out') == 0
    assert ClipStore(tmp_path / 'out')[0].frame_index.tolist() == list(range(1, 12))


def test_resume(tmp_path, command, capsys):
    tree = save_tree(tmp_path / 'tree', frames=2)
    assert command(tree, tmp_path / 'out') == 0
    (tree / 'yes' / '2').mkdir()
    np.save(tree / 'yes' / '2' / '0.npy', vectors()[0])
    assert command(tree, tmp_path / 'out', '--resume') == 0
    assert 'skipped   3 clips' in capsys.readouterr().out
    assert len(ClipStore(tmp_path / 'out')) == 4


@pytest.mark.skipif(not ASL10.is_file(), reason='the real clips (shared/data) are not here')
def test_the_real_clips(tmp_path, command):
    assert command(ASL10, tmp_path / 'out') == 0
    store = ClipStore(tmp_path / 'out')
    assert len(store) == 900 and len(store.classes) == 10 and store.verify() == []
    assert np.bincount(store.labels).tolist() == [90] * 10
    for subject in ('S1', 'S2', 'S3'):
        assert len(store.select(f'{subject}_train')) == 600
        assert len(store.select(f'{subject}_test')) == 300
    there = np.stack([store[i].hand_score[0] > 0 for i in range(900)])  # clips, sides, frames
    left, right = 1 - there[:, 0].mean(), 1 - there[:, 1].mean()
    assert [round(100 * share, 1) for share in (left, right)] == [42.7, 19.1]
    assert round(100 * (~there.any(axis=1)).mean(), 1) == 10.9
    assert round(100 * (~there.any(axis=(1, 2))).mean(), 1) == 9.8
    assert all((store[i].body_score > 0).all() and store[i].num_frames == 30 for i in range(900))
    with np.load(ASL10, allow_pickle=False) as source:
        names, keypoint = source['name'].tolist(), source['keypoint']
    clip = store[store.find('tea/3')]
    vector = keypoint[names.index('tea/3')]
    assert np.array_equal(clip.hand[0, 1, 7], vector[7, 195:].reshape(21, 3))
    without = {'subject': {'not_in': ['S1']}, 'exclude': [{'subject': 'S2', 'label': 'small'}]}
    assert len(store.select(without)) == 570
