import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.sources import nucla
from bharnet_mm.errors import SourceError

REAL = Path(__file__).parents[4] / 'shared' / 'data' / 'nucla_all_sqe.tgz'
ID = 'a09_s02_e01_v03'


def record(frames=3, clip_id=ID, label=8, seed=0):
    skeletons = np.random.default_rng(seed).normal(size=(frames, 20, 3)).round(4)
    return {'file_name': clip_id, 'skeletons': skeletons.tolist(), 'label': label}


def read(content):
    return nucla.read_json((ID, json.dumps(content).encode()))


def test_json_values_and_fields():
    content = record(4)
    clip = read(content).clips[0]
    np.testing.assert_array_equal(clip.body[0], np.float32(content['skeletons']))
    assert (clip.label, clip.subject, clip.camera, clip.clip_id) == (7, '2', '3', ID)
    clip.validate('kinect_v1', None, 10)


def test_a_clip_of_one_frame_survives():
    assert read(record(1)).clips[0].body.shape == (1, 1, 20, 3)


def test_a_joint_that_is_not_there_is_missing_by_itself():
    content = record(4)
    content['skeletons'][1][5] = [0, 0, 0]
    content['skeletons'][2][6][1] = float('nan')
    converted = read(content)
    clip = converted.clips[0]
    assert clip.body_score.tolist() == [[1, 1, 0, 1]]
    assert np.argwhere(clip.body_joint_score[0, :2] == 0).tolist() == [[1, 5]]
    assert clip.num_missing_joints == 1 and sum(converted.repaired.values()) == 1


def without_label():
    content = record()
    del content['label']
    return content


@pytest.mark.parametrize(
    'content, says',
    [
        (record(label=9), 'the label 9; expected 8'),
        ({**record(), 'skeletons': []}, 'shape'),
        ({**record(), 'skeletons': [[[0, 0, 1]] * 19]}, r'shape \(1, 19, 3\)'),
        ({**record(), 'skeletons': [[[0, 0, 1]] * 20, [[0, 0, 1]] * 19]}, 'ValueError'),
        (without_label(), 'KeyError'),
        ([1], 'TypeError'),
    ],
)
def test_ill_formed_json(content, says):
    with pytest.raises(SourceError, match=says):
        read(content)


def test_truncated_json():
    with pytest.raises(SourceError, match='JSONDecodeError'):
        nucla.read_json((ID, json.dumps(record()).encode()[:-9]))


@pytest.mark.parametrize('form', ['folder', 'tgz', 'zip'])
def test_folder_and_archives_give_the_same(tmp_path, form):
    ids = ['a01_s01_e00_v01', 'a12_s03_e02_v02']
    files = {i: json.dumps(record(2, i, n, n)).encode() for i, n in zip(ids, (1, 10), strict=True)}
    source = tmp_path / f'all_sqe.{form}'
    if form == 'folder':
        source.mkdir()
        for clip_id, content in files.items():
            (source / f'{clip_id}.json').write_bytes(content)
    elif form == 'zip':
        with zipfile.ZipFile(source, 'w') as archive:
            for clip_id, content in files.items():
                archive.writestr(f'all_sqe/{clip_id}.json', content)
    else:
        with tarfile.open(source, 'w:gz') as archive:
            for clip_id, content in files.items():
                info = tarfile.TarInfo(f'all_sqe/{clip_id}.json')
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    clips, kind = nucla.list_nucla(source, report := Report())
    assert kind == 'json' and report.found == 2
    got = {
        c.clip_id: c for item in nucla.open_json(source, clips) for c in nucla.read_json(item).clips
    }
    assert [got[i].label for i in ids] == [0, 9]
    np.testing.assert_array_equal(got[ids[1]].body[0], np.float32(record(2, seed=10)['skeletons']))


def write_text(folder, frames, listed=None):
    """``frames``: number to bodies (n, 20, 4), or None for an empty file."""
    folder.mkdir(parents=True)
    for number, bodies in frames.items():
        text = ''
        for body in [] if bodies is None else bodies:
            rows = [','.join(f'{v:g}' for v in joint) for joint in body]
            text += '\n'.join(['60', *rows]) + '\n'
        (folder / f'frame_{number}_tc_{number * 33}_skeletons.txt').write_text(text)
    if listed is not None:
        (folder / 'fileList.txt').write_text(''.join(f'{n} {n * 33}\n' for n in listed))


def bodies(num=1, seed=0):
    joints = np.random.default_rng(seed).normal(size=(num, 20, 4)).round(4)
    joints[..., 3] = 2
    return joints


def test_the_original_text_files(tmp_path):
    folder = tmp_path / 'view_2' / 'a12_s03_e04'
    frames = {101: bodies(1, 1), 103: None, 104: bodies(2, 4), 20: bodies(1, 5)}
    frames[104][0, :10, 3] = 1  # half of the joints inferred
    write_text(folder, frames, listed=[101, 102, 103, 104, 20])
    clips, form = nucla.list_nucla(tmp_path, Report())
    assert form == 'text' and clips == [('a12_s03_e04_v02', str(folder))]
    converted = nucla.read_text(clips[0])
    clip = converted.clips[0]
    clip.validate('kinect_v1', None, 10)
    assert (clip.label, clip.subject, clip.camera) == (9, '3', '2')
    assert clip.frame_index.tolist() == [20, 101, 102, 103, 104]
    assert clip.body_score.tolist() == [[1, 1, 0, 0, 0.75]]
    np.testing.assert_array_equal(clip.body[0, 4], np.float32(frames[104][0, :, :3]))
    assert converted.repaired == {
        'frame without a body: kept, missing': 2,
        'body beyond the first of a frame: dropped': 1,
    }


def test_text_without_a_list_and_without_files(tmp_path):
    write_text(tmp_path / 'view_1' / 'a01_s01_e00', {2: bodies(), 10: bodies()})
    write_text(tmp_path / 'view_1' / 'a01_s01_e01', {}, listed=[])
    write_text(tmp_path / 'elsewhere' / 'a01_s01_e02', {1: bodies()})
    clips, _ = nucla.list_nucla(tmp_path, report := Report())
    assert list(report.refused) == ['name is not of the form aXX_sXX_eXX_vXX']
    assert nucla.read_text(clips[0]).clips[0].frame_index.tolist() == [2, 10]
    assert nucla.read_text(clips[1]).refused[0][1] == 'no skeleton file'


def test_ill_formed_text(tmp_path):
    folder = tmp_path / 'view_1' / 'a01_s01_e00'
    write_text(folder, {1: bodies()})
    path = next(folder.glob('*.txt'))
    path.write_text(path.read_text().rsplit('\n', 3)[0])
    with pytest.raises(SourceError, match='frame_1_tc_33'):
        nucla.read_text(('a01_s01_e00_v01', str(folder)))


def test_nothing_there(tmp_path):
    with pytest.raises(SourceError, match='no clip'):
        nucla.list_nucla(tmp_path, Report())
    (tmp_path / 'x.tgz').write_bytes(b'not an archive')
    with pytest.raises(SourceError, match='archive'):
        nucla.list_nucla(tmp_path / 'x.tgz', Report())


@pytest.mark.skipif(not REAL.is_file(), reason='nucla_all_sqe.tgz is not at hand')
def test_the_real_thing():
    clips, form = nucla.list_nucla(REAL, Report())
    assert form == 'json' and len(clips) == 1484
    cameras, lengths, missing = [], [], 0
    for clip_id, content in nucla.open_json(REAL, clips):
        converted = nucla.read_json((clip_id, content))
        clip = converted.clips[0]
        clip.validate('kinect_v1', None, 10)
        assert clip.num_frames == len(json.loads(content)['skeletons'])
        cameras.append(clip.camera)
        lengths.append(clip.num_frames)
        missing += clip.num_missing_joints > 0
        assert clip.body_score.all()
    assert [cameras.count(c) for c in '123'] == [516, 504, 464]
    assert (sum(lengths), min(lengths), max(lengths), lengths.count(1)) == (58534, 1, 201, 2)
    assert missing == 2
