import pytest

from bharnet_mm.datasets import ClipStore, protocols
from bharnet_mm.errors import SourceError


def ntu_clips(make_clip, setups, subjects, cameras):
    for setup in setups:
        for subject in subjects:
            for camera in cameras:
                fields = protocols.ntu_fields(f'S{setup:03d}C{camera:03d}P{subject:03d}R001A002')
                fields.pop('repetition')
                yield make_clip(frames=1, **fields)


def test_ntu60(write_store, make_clip):
    clips = ntu_clips(make_clip, [1], range(1, 41), [1, 2, 3])
    splits = protocols.ntu60_splits()
    store = ClipStore(write_store(clips=clips, splits=splits))
    train = {int(store[i].subject) for i in store.select('xsub_train')}
    assert train == {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
    assert {int(store[i].subject) for i in store.select('xsub_test')} == set(range(1, 41)) - train
    assert {store[i].camera for i in store.select('xview_train')} == {'2', '3'}
    assert {store[i].camera for i in store.select('xview_test')} == {'1'}


def test_ntu120(write_store, make_clip):
    clips = [*ntu_clips(make_clip, [1], range(1, 107), [1])]
    clips += ntu_clips(make_clip, range(2, 33), [1], [1])
    store = ClipStore(write_store(clips=clips, splits=protocols.ntu120_splits()))
    train, test = store.select('xsub_train'), store.select('xsub_test')
    subjects = {int(store[i].subject) for i in train}
    assert len(subjects) == 53 and max(subjects) == 103 and {45, 59, 86, 95} <= subjects
    assert len({store[i].subject for i in test}) == 53
    assert {int(store[i].setup) % 2 for i in store.select('xset_train')} == {0}
    assert {int(store[i].setup) % 2 for i in store.select('xset_test')} == {1}
    for name in ('xsub', 'xset'):
        both = [*store.select(f'{name}_train'), *store.select(f'{name}_test')]
        assert sorted(both) == list(range(len(store)))


def test_nucla(write_store, make_clip):
    names = [f'a{a:02d}_s01_e00_v{v:02d}' for a in (1, 8, 12) for v in (1, 2, 3)]
    clips = [make_clip(**protocols.nucla_fields(name)) for name in names]
    classes = protocols.NUCLA_CLASSES
    store = ClipStore(write_store(clips=clips, classes=classes, splits=protocols.nucla_splits()))
    assert {store[i].camera for i in store.select('xview_test')} == {'3'}
    assert store.select('xview_train').tolist() == store.select('view3_train').tolist()
    assert {store[i].camera for i in store.select('view1_train')} == {'2', '3'}
    assert [classes[label] for label in store.labels[::3]] == [classes[0], 'donning', 'carry']


def test_leave_one_out():
    assert protocols.leave_one_out('subject', ['S1', 'S2']) == {
        'S1_train': {'subject': {'not_in': ['S1']}},
        'S1_test': {'subject': ['S1']},
        'S2_train': {'subject': {'not_in': ['S2']}},
        'S2_test': {'subject': ['S2']},
    }


def test_pku_mmd_reads_lines_two_and_four(tmp_path, write_store, make_clip):
    text = 'Training videos:\n{}, \nValidataion videos:\n{}, \n'
    (tmp_path / 'cross-subject.txt').write_text(text.format('0002-L, 0003-M', '0291-R'))
    (tmp_path / 'cross-view.txt').write_text(text.format('0002-L,0291-R', 'A10N08-M,0003-M'))
    splits = protocols.pku_mmd_splits(tmp_path)
    assert splits['xsub_train'] == {'source': ['0002-L', '0003-M']}
    assert splits['xview_test'] == {'source': ['A10N08-M', '0003-M']}
    sources = ['0002-L', '0003-M', '0291-R', '0002-L', 'A10N08-M']
    clips = [make_clip(i, source=source) for i, source in enumerate(sources)]
    store = ClipStore(write_store(clips=clips, splits=splits))
    assert store.select('xsub_train').tolist() == [0, 1, 3]
    assert store.select('xview_test').tolist() == [1, 4]


@pytest.mark.parametrize(
    'text', ['', 'train\n0002-L\n', 'a\n0002-L\nb\n0002-L\n', 'a\n\nb\n0003-L']
)
def test_pku_mmd_damaged_files(tmp_path, text):
    with pytest.raises(SourceError, match='no such file'):
        protocols.pku_mmd_splits(tmp_path)
    (tmp_path / 'cross-subject.txt').write_text(text)
    with pytest.raises(SourceError, match='cross-subject.txt.*line 2'):
        protocols.pku_mmd_splits(tmp_path)


def test_file_names():
    assert protocols.ntu_fields('raw/S018C002P106R001A120.skeleton') == {
        'clip_id': 'S018C002P106R001A120',
        'setup': '18',
        'camera': '2',
        'subject': '106',
        'repetition': '1',
        'label': 119,
    }
    fields = protocols.nucla_fields('a11_s09_e03_v02.json')
    assert fields == {'clip_id': 'a11_s09_e03_v02', 'subject': '9', 'camera': '2', 'label': 8}
    for name in ('S001C002P003R002A000', 'S001C002P003R002', 'S001C002P003R002A0011', 'x.npy'):
        with pytest.raises(SourceError, match='S001C002P003R002A013'):
            protocols.ntu_fields(name)
    for name in ('a07_s01_e00_v01', 'a01_s01_e00', 'S001C002P003R002A001'):
        with pytest.raises(SourceError, match='a01_s01_e00_v01'):
            protocols.nucla_fields(name)


def test_classes_and_groups():
    assert len(set(protocols.NTU_CLASSES)) == 120 and len(set(protocols.NUCLA_CLASSES)) == 10
    assert protocols.NTU_CLASSES[59] == 'walking apart from each other'
    assert protocols.NTU_CLASSES[60] == 'put on headphone'
    groups = protocols.CLASS_GROUPS
    assert len(set(groups['ntu_hand_11'])) == 11 and len(set(groups['ntu_hand_27'])) == 27
    assert set(groups['ntu_hand_11']) < set(groups['ntu_hand_27']) < set(protocols.NTU_CLASSES)
    assert set(groups['ntu_hand_11']) < set(protocols.NTU_CLASSES[:60])
    assert 'snapping fingers' in groups['ntu_hand_27']
