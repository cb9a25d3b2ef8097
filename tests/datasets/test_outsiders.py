"""Files of outsiders: hidden files, two forms of é, parts of a data set, clear refusals."""

import importlib.util
import json
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from bharnet_mm.apis.doctor.examine import examine
from bharnet_mm.datasets import BodyHandDataset, ClipStore, StoreWriter
from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.protocols import ntu60_splits
from bharnet_mm.datasets.sources import ntu, nucla, pku_mmd, pyskl
from bharnet_mm.errors import ClipError, ConfigError, SourceError
from bharnet_mm.experiments import browse
from bharnet_mm.io.content import content_of
from bharnet_mm.io.names import is_shown, same_form

NFC, NFD = (unicodedata.normalize(form, 'écrire') for form in ('NFC', 'NFD'))


def tool(name, *arguments):
    path = Path(__file__).parents[2] / 'tools' / 'data' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'tool_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.command([*map(str, arguments), '--workers', '1'])


def vector(seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, 258).astype(np.float32)


def record(folder, frames=2, seed=0):
    folder.mkdir(parents=True)
    for t in range(frames):
        np.save(folder / f'{t}.npy', vector(seed + t))


def test_hidden_files_of_a_mac_are_passed_over(tmp_path):
    record(tmp_path / 'MP' / 'yes' / '0')
    (tmp_path / 'MP' / 'yes' / '0' / '._0.npy').write_bytes(b'\0\5\x16\7' * 20)
    (tmp_path / 'MP' / 'yes' / '.DS_Store').write_bytes(b'x')
    (tmp_path / 'MP' / '__MACOSX' / 'yes').mkdir(parents=True)
    assert tool('holistic', tmp_path / 'MP', tmp_path / 'out') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.classes == ['yes'] and store[0].num_frames == 2

    raw = tmp_path / 'raw'
    (raw / '.trash').mkdir(parents=True)
    for place in ('S001C001P001R001A001', '._S001C001P001R001A001', '.trash/S001C001P001R001A002'):
        (raw / f'{place}.skeleton').write_text('0\n')
    (raw / 'a01_s01_e00_v01.json').write_text('{}')
    (raw / '._a01_s01_e00_v01.json').write_text('{}')
    report = Report()
    assert len(ntu.list_skeleton_files(raw, report)) == 1 and not report.refused
    assert len(nucla.list_nucla(raw, Report())[0]) == 1
    (raw / '0001-L.txt').write_text('x')
    (raw / '._0001-L.txt').write_text('x')
    assert [str(r) for r in pku_mmd.list_recordings(raw, raw, Report())] == ['0001-L']
    assert is_shown('a/b.npy') and not is_shown('__MACOSX/a.json') and is_shown('./a.json')


def test_two_forms_of_a_name_are_one(tmp_path, make_clip):
    assert NFC != NFD and same_form(NFD) == NFC
    record(tmp_path / 'MP' / NFC / '0')
    record(tmp_path / 'MP' / NFD / '1', seed=5)
    assert tool('holistic', tmp_path / 'MP', tmp_path / 'out') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.classes == [NFC] and store.clip_ids.tolist() == [f'{NFC}/0', f'{NFC}/1']
    assert store.find(f'{NFD}/1') == 1
    np.savez(
        tmp_path / 'a.npz', keypoint=np.stack([vector()[None]] * 2), label=np.array([NFC, NFD])
    )
    assert tool('holistic', tmp_path / 'a.npz', tmp_path / 'npz') == 0
    assert ClipStore(tmp_path / 'npz').classes == [NFC]
    names = dict(name='toy', body_layout='kinect_v2', classes=[NFD, 'b', 'c', 'd'])
    with StoreWriter(tmp_path / 'store', splits={'a_train': {'clip_id': [NFC]}}, **names) as writer:
        writer.add(make_clip(0, clip_id=NFD, video=f'{NFD}.mp4'))
        with pytest.raises(Exception, match='in the store'):
            writer.add(make_clip(0, clip_id=NFC))
    store = ClipStore(tmp_path / 'store')
    assert store.select('a_train').tolist() == [0] and store[0].video == f'{NFD}.mp4'


def test_a_part_of_ntu_uses_the_official_splits(tmp_path, make_clip):
    names = dict(name='part', body_layout='kinect_v2', classes=list('abcd'))
    with StoreWriter(tmp_path / 'ntu', splits=ntu60_splits(), **names) as writer:
        for i, subject in enumerate(['1', '2', '3', '1']):
            writer.add(make_clip(i, subject=subject, camera='1'))
    store = ClipStore(tmp_path / 'ntu')
    assert store.select('xsub_train').tolist() == [0, 1, 3]
    assert store.select('xsub_test').tolist() == [2]
    assert store.absent_values('xsub_train')['subject'][:3] == ['4', '5', '8']
    assert len(BodyHandDataset(store, [], split='xsub_train')) == 3
    with pytest.raises(ConfigError, match=r"no clip matches .*which have \{'camera': \['1'\]\}"):
        store.select('xview_train')
    with pytest.raises(ConfigError, match='which no clip has'):
        store.select({'subject': ['1', '7']})  # typed just now, so probably a mistake
    found = [f for f in examine(tmp_path / 'ntu').findings if f.check == 'splits']
    assert any(
        f.severity == 'note' and 'xsub_train names what no clip has' in f.message for f in found
    )
    assert any(f.severity == 'error' and 'xview_train cannot be used' in f.message for f in found)


def test_the_small_sample_can_be_used(tmp_path):
    tool_arguments = ['--clips-per-class', '4']
    path = Path(__file__).parents[2] / 'tools' / 'data' / 'sample.py'
    spec = importlib.util.spec_from_file_location('tool_sample', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main = getattr(module, 'command', None) or module.main
    main([str(tmp_path / 'sample'), *tool_arguments])
    store = ClipStore(tmp_path / 'sample')
    for split in ('xsub_train', 'xsub_test'):
        assert len(store.select(split))


@pytest.mark.parametrize(
    ('keypoint', 'says'),
    [
        (np.ones((4, 17, 2)), r'shape \(4, 17, 2\)'),
        (np.array([np.ones(3), np.ones(4)], dtype=object), r'shape \(2,\) and type object'),
        ([[1.0, 2.0], [3.0]], 'differs within a list of 2 entries'),
    ],
)
def test_a_refused_annotation_has_a_short_name_and_its_shape(tmp_path, keypoint, says):
    good = dict(frame_dir='good', label=0, keypoint=np.full((1, 4, 17, 2), 50.0) + np.arange(2))
    bad = dict(frame_dir='bad', label=0, keypoint=keypoint)
    nameless = {k: v for k, v in bad.items() if k != 'frame_dir'}
    converted = [pyskl.AnnotationReader(pyskl.layout_of([good]), 'xy')]
    for row in (bad, nameless):
        with pytest.raises(SourceError, match=says) as error:
            converted[0](row)
        assert len(str(error.value)) < 400
    if isinstance(keypoint, np.ndarray) and keypoint.dtype == object:
        return  # such an array is not admitted in a pickle at all
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps([good, bad, nameless]))
    report = tmp_path / 'report.json'
    assert tool('pyskl', tmp_path / 'a.pkl', tmp_path / 'out', '--report', report) == 0
    refused = json.loads(report.read_text())['refused']['ill-formed']
    assert sorted(refused) == ['annotation 3', 'bad']


def test_files_of_another_kind_are_named_in_plain_words(tmp_path):
    path = tmp_path / 'a.pkl'
    for data, says in (
        (b'', 'found an empty file'),
        (b'{"a": 1}', 'found JSON text'),
        (pickle.dumps([]), 'an empty list'),
        (pickle.dumps(dict(annotations=[])), 'an empty list'),
        (b'PK\3\4' + bytes(30), 'zip'),
    ):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=says):
            pyskl.load_annotations(path)
    npz = tmp_path / 'a.npz'
    npz.write_text('{"keypoint": []}')
    with pytest.raises(SourceError, match='JSON text') as error:
        tool('holistic', npz, tmp_path / 'out')
    assert 'allow_pickle' not in str(error.value)
    record(tmp_path / 'MP' / 'a' / '0')
    (tmp_path / 'MP' / 'a' / '0' / '1.npy').write_text('[1, 2]')
    report = tmp_path / 'r.json'
    tool('holistic', tmp_path / 'MP', tmp_path / 'out', '--report', report)
    assert 'JSON text' in report.read_text() and 'allow_pickle' not in report.read_text()
    npz.write_text('a list of names\né')
    assert content_of(npz) == 'plain text'


def test_a_store_takes_new_classes_at_its_end(tmp_path, make_clip):
    names = dict(name='toy', body_layout='kinect_v2')
    with StoreWriter(tmp_path / 's', classes=['wave', 'clap'], **names) as writer:
        writer.add(make_clip(0, label=0))
        writer.add(make_clip(1, label=1))
    with StoreWriter(
        tmp_path / 's', append=True, classes=['bow', 'clap', 'nod'], **names
    ) as writer:
        writer.add(make_clip(2, label=0))
        writer.add(make_clip(3, label=1))
        with pytest.raises(ClipError, match='label 3'):
            writer.add(make_clip(4, label=3))
    store = ClipStore(tmp_path / 's')
    assert store.classes == ['wave', 'clap', 'bow', 'nod'] and not store.verify()
    assert [store.classes[label] for label in store.labels] == ['wave', 'clap', 'bow', 'clap']


def test_a_tree_grows_by_a_class(tmp_path):
    record(tmp_path / 'MP' / 'yes' / '0')
    assert tool('holistic', tmp_path / 'MP', tmp_path / 'out') == 0
    record(tmp_path / 'MP' / 'no' / '0')
    assert tool('holistic', tmp_path / 'MP', tmp_path / 'out', '--resume') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.classes == ['yes', 'no'] and store.labels.tolist() == [0, 1]


def test_browse_passes_over_what_has_no_video(tmp_path, make_clip, capsys):
    pixel = np.full((1, 5, 25, 2), 30, np.float32)
    names = dict(name='toy', body_layout='kinect_v2', classes=list('abcd'), pixels=True)
    with StoreWriter(tmp_path / 's', **names) as writer:
        writer.add(make_clip(0, body_pixel=pixel))
        writer.add(make_clip(1, body_pixel=pixel))
    (tmp_path / 'videos').mkdir()
    options = ['--n', '2', '--videos', str(tmp_path / 'videos'), '--out', str(tmp_path / 'out')]
    with pytest.raises(SourceError, match='no clip could be drawn'):
        browse.main([str(tmp_path / 's'), *options])
    assert capsys.readouterr().err.count('passed over') == 2


def test_the_doctor_does_not_advise_what_was_done(tmp_path, make_clip):
    names = dict(name='toy', body_layout='kinect_v2', classes=list('abcd'))
    with StoreWriter(tmp_path / 's', **names) as writer:
        for i in range(4):
            score = np.zeros((1, 2, 5), np.float32)
            score[:, :, 0] = 1
            writer.add(make_clip(i, hand_score=score))

    def advice():
        (found,) = [
            f for f in examine(tmp_path / 's').findings if 'frames without a hand' in f.message
        ]
        return found.fix

    assert 'extract with wrist crops' in advice()
    (tmp_path / 's' / 'extraction.json').write_text('{}')
    assert 'wrist crops' not in advice() and 'searched already' in advice()
