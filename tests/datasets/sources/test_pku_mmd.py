import numpy as np
import pytest

from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.sources import pku_mmd
from bharnet_mm.errors import SourceError


def sequence(frames=100, seed=0):
    """(T, 2, 25, 3); the second body is there in the second half and moves more."""
    rng = np.random.default_rng(seed)
    body = rng.normal(size=(frames, 2, 25, 3)).round(6)
    body[:, 1] *= 3
    body[: frames // 2, 1] = 0
    return body


def write(path, body):
    rows = [' ' + ' '.join(f'{v:.6f}' for v in row) for row in body.reshape(len(body), -1)]
    path.write_text('\n'.join(rows) + '\n')


@pytest.fixture
def folders(tmp_path):
    for name in ('data', 'labels'):
        (tmp_path / name).mkdir()

    def make(body, labels, name='0002-L'):
        write(tmp_path / 'data' / f'{name}.txt', body)
        (tmp_path / 'labels' / f'{name}.txt').write_text(labels)
        return pku_mmd.list_recordings(tmp_path / 'data', tmp_path / 'labels', Report())

    return make


def test_instances_are_cut_with_both_ends(folders):
    body = sequence()
    converted = pku_mmd.read_recording(folders(body, '26,10,19,2\n7,60,79,1\n')[0])
    first, second = converted.clips
    assert [c.clip_id for c in converted.clips] == ['0002-L_A026_F00010', '0002-L_A007_F00060']
    np.testing.assert_array_equal(first.body, np.float32(body[10:20, :1]).swapaxes(0, 1))
    assert first.frame_index.tolist() == list(range(10, 20))
    assert (first.label, first.camera, first.source, first.subject) == (25, 'L', '0002-L', '')
    assert (first.video, first.fps) == ('0002-L.avi', 30)
    # both bodies are there: the one that moves more comes first
    np.testing.assert_array_equal(second.body, np.float32(body[60:80, ::-1]).swapaxes(0, 1))
    for clip in converted.clips:
        clip.validate('kinect_v2', None, len(pku_mmd.PKU_MMD_CLASSES))
    assert not converted.repaired and not converted.refused


def test_what_cannot_be_cut_is_reported(folders):
    body = sequence()
    body[30:40, 0] = 0
    labels = '1,90,120,2\n2,100,110,2\n3,50,40,1\n4,-5,9,1\n5,30,39,1\n6,25,44,1\n6,25,44,1\n'
    converted = pku_mmd.read_recording(folders(body, labels)[0])
    assert [c.clip_id for c in converted.clips] == ['0002-L_A001_F00090', '0002-L_A006_F00025']
    assert [c.num_frames for c in converted.clips] == [10, 20]
    assert [(name, reason) for name, reason, _ in converted.refused] == [
        ('0002-L_A002_F00100', 'instance beyond the recording'),
        ('0002-L_A003_F00050', 'instance without frames (end before start)'),
        ('0002-L_A004_F-0005', 'instance without frames (end before start)'),
        ('0002-L_A005_F00030', 'no body in any frame'),
        ('0002-L_A006_F00025', 'the same class and start again'),
    ]
    assert converted.repaired == {
        'instance ends beyond the recording: cut there': 1,
        'frame without a body: kept, missing': 10,
    }
    assert (converted.clips[1].body_score[0] == 0).sum() == 10


def test_not_finite_is_missing(folders):
    body = sequence()
    body[12, 0, 3, 1] = np.nan
    converted = pku_mmd.read_recording(folders(body, '1,10,19,2\n')[0])
    assert np.flatnonzero(converted.clips[0].body_score[0] == 0).tolist() == [2]
    assert 'not finite' in ' '.join(converted.repaired)


def test_second_phase_names_its_subject(folders):
    recording = folders(sequence(), '1,10,19,2\n', name='A10N08-M')[0]
    clip = pku_mmd.read_recording(recording).clips[0]
    assert (clip.clip_id, clip.subject, clip.camera) == ('A10N08-M_A001_F00010', '8', 'M')


def test_ill_formed_recordings_say_where():
    row = b' '.join([b'0.5'] * 150)
    assert pku_mmd.parse_recording(row + b'\r\n' + row, 'a').shape == (2, 2, 25, 3)
    for data, says in (
        (b'', 'no row'),
        (row + b'\n' + row[:-4], 'a, row 2: found 149 values'),
        (row + b'\n' + row.replace(b'0.5', b'0,5', 1), 'a, row 2: found something that is not'),
        (row + b' 1\n' + row[4:], 'a, row 1: found 151 values'),
    ):
        with pytest.raises(SourceError, match=says):
            pku_mmd.parse_recording(data, 'a')


def test_ill_formed_labels_say_where():
    assert pku_mmd.parse_labels('3,4,5,1\n\n 6, 7, 8, 2\n', 'a') == [(3, 4, 5), (6, 7, 8)]
    for text in ('1,2,3\n', '1,2,3,4,5\n', '1 2 3 4\n', '1,2,x,4\n', '1,2,inf,4\n'):
        with pytest.raises(SourceError, match='a, line 1'):
            pku_mmd.parse_labels(text, 'a')


def test_files_without_a_partner(tmp_path, folders):
    folders(sequence(), '1,10,19,2\n')
    write(tmp_path / 'data' / '0003-R.txt', sequence(10))
    (tmp_path / 'labels' / '0004-M.txt').write_text('1,1,2,1\n')
    write(tmp_path / 'data' / 'readme.txt', sequence(2))
    report = Report()
    recordings = pku_mmd.list_recordings(tmp_path / 'data', tmp_path / 'labels', report)
    assert [str(r) for r in recordings] == ['0002-L'] and report.found == 4
    assert {reason: [n for n, _ in names] for reason, names in report.refused.items()} == {
        'recording without a label file': ['0003-R'],
        'label file without a recording': ['0004-M'],
        'name is not of the form 0002-L or A10N08-L': ['readme'],
    }
    with pytest.raises(SourceError, match='no recording'):
        pku_mmd.list_recordings(tmp_path / 'data', tmp_path / 'nowhere', Report())
