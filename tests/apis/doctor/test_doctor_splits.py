"""Every check between the clips fires where it should, and only there."""

import json
from dataclasses import replace

import numpy as np
import pytest
from broken_stores import edit, found, make_clip, only

from bharnet_mm.apis.doctor import examine
from bharnet_mm.errors import ConfigError


def change_splits(path, **splits):
    """Rules past the writer's checks, as another hand might leave them."""
    meta = json.loads((path / 'store.json').read_text())
    meta['splits'] = splits
    (path / 'store.json').write_text(json.dumps(meta))
    return path


def test_a_split_that_cannot_be_used(write, clips):
    splits = dict(xsub_train={'subject': ['8', '9']}, xsub_test={'subject': ['5']})
    diagnosis = examine(change_splits(write(clips), **splits))
    finding = diagnosis.findings[0]
    assert (finding.check, finding.severity) == ('splits', 'error')
    assert 'xsub_train cannot be used' in finding.message and "'9'" in finding.message


def test_clips_on_both_sides(write, clips):
    splits = dict(
        a_train={'clip_id': [clip.clip_id for clip in clips[:16]]},
        a_test={'clip_id': [clip.clip_id for clip in clips[12:]]},
    )
    finding = only(examine(write(clips, splits=splits)))
    assert (finding.check, finding.severity, finding.count) == ('splits', 'error', 4)
    assert finding.examples == ('clip_012', 'clip_013', 'clip_014', 'clip_015')


def test_classes_of_one_side_only(write, clips):
    train = {'subject': ['1', '2', '3', '4'], 'exclude': [{'label': ['small']}]}
    splits = dict(xsub_train=train, xsub_test={'subject': ['5', '6']})
    diagnosis = examine(write(clips, splits=splits))
    assert [finding.severity for finding in diagnosis.findings] == ['error', 'note']
    assert diagnosis.findings[0].examples == ('small',) and 'clips in no split' in str(diagnosis)
    test = {'subject': ['5', '6'], 'exclude': [{'label': ['small']}]}
    splits = dict(xsub_train={'subject': ['1', '2', '3', '4']}, xsub_test=test)
    assert found(examine(write(clips, 'again', splits=splits))) == {('splits', 'note')}


def test_no_test_split_and_no_splits(write, clips):
    diagnosis = examine(write(clips, splits=dict(all_train={'camera': ['1', '2']})))
    assert 'has no test split' in only(diagnosis).message
    assert only(diagnosis).severity == 'warning'
    assert only(examine(write(clips, 'again', splits={}))).message == 'no splits'


@pytest.mark.parametrize(
    ('protocol', 'field'), [('xsub', 'subject'), ('ntu60_xview', 'camera'), ('xset', 'setup')]
)
def test_leakage_by_what_the_name_says(write, clips, protocol, field):
    clips = [replace(clip, setup=clip.camera) for clip in clips]
    ids = [clip.clip_id for clip in clips]
    splits = {f'{protocol}_train': {'clip_id': ids[:12]}, f'{protocol}_test': {'clip_id': ids[12:]}}
    if field == 'subject':
        assert examine(write(clips, splits=splits)).findings == []
    splits = {f'{protocol}_train': {'clip_id': ids[:14]}, f'{protocol}_test': {'clip_id': ids[14:]}}
    diagnosis = examine(write(clips, 'again', splits=splits))
    errors = [finding for finding in diagnosis.of('error') if finding.check == 'leakage']
    assert len(errors) == 1 and f'{field}s in training and in test' in errors[0].message
    assert errors[0].examples == (('4',) if field == 'subject' else ('1', '2'))


def test_leakage_by_the_rules(write, clips):
    splits = dict(my_train={'subject': ['1', '2', '3']}, my_test={'subject': ['3', '4', '5', '6']})
    diagnosis = examine(write(clips, splits=splits))
    assert ('leakage', 'error') in found(diagnosis) and ('splits', 'error') in found(diagnosis)
    # a field that both sides restrict in the same way is not what the protocol holds out
    both = {'subject': ['1', '2', '3', '4', '5', '6']}
    splits = dict(my_train={**both, 'camera': ['1']}, my_test={**both, 'camera': ['2']})
    assert examine(write(clips, 'again', splits=splits)).findings == []


def test_unknown_subjects(write, clips):
    unknown = [replace(clip, subject='') for clip in clips]
    splits = dict(xsub_train={'camera': ['1']}, xsub_test={'camera': ['2']})
    assert examine(write(clips, splits=splits)).findings == []  # held out are cameras
    ids = [clip.clip_id for clip in clips]
    splits = dict(xsub_train={'clip_id': ids[:12]}, xsub_test={'clip_id': ids[12:]})
    finding = only(examine(write(unknown, 'again', splits=splits)))
    assert finding.severity == 'note' and 'no clip says its subject' in finding.message


def test_a_recording_on_both_sides(write, clips):
    splits = dict(a_train={'subject': ['1', '2', '3']}, a_test={'subject': ['4', '5', '6']})
    clips = [replace(clip, video=f'{clip.clip_id}.mp4') for clip in clips]
    assert examine(write(clips, splits=splits)).findings == []
    clips[3], clips[20] = (replace(clips[i], video='long.mp4') for i in (3, 20))
    clips[20].frame_index += 12
    finding = only(examine(write(clips, 'apart', splits=splits)))
    assert (finding.check, finding.severity) == ('leakage', 'warning')
    assert finding.examples == ('long.mp4',)
    clips[20].frame_index -= 1
    diagnosis = examine(write(clips, 'overlap', splits=splits))
    assert found(diagnosis) == {('leakage', 'error'), ('leakage', 'warning')}
    assert diagnosis.findings[0].examples == ('clip_020',)


def test_duplicates(write, clips):
    clips[23] = replace(clips[3], clip_id='copy', subject='4', camera='1')
    finding = only(examine(write(clips)))  # both in training
    assert (finding.check, finding.severity, finding.count) == ('duplicates', 'warning', 1)
    clips[23].label = 0
    diagnosis = examine(write(clips, 'label'))
    assert found(diagnosis) == {('duplicates', 'error'), ('duplicates', 'warning')}
    assert 'another label' in diagnosis.findings[0].message
    clips[23] = replace(clips[3], clip_id='copy', subject='5', camera='1')
    diagnosis = examine(write(clips, 'leak'))
    assert found(diagnosis) == {('duplicates', 'error'), ('duplicates', 'warning')}
    assert '1 of 8 test clips' in diagnosis.findings[0].message
    assert diagnosis.findings[0].examples == ('copy',)


def test_equal_sums_are_not_duplicates(write, clips):
    whole = np.round(clips[3].body * 64) / 64  # sums of these are exact in any order
    clips[3].body = whole.astype(np.float32)
    clips[23] = replace(clips[3], clip_id='turned', body=clips[3].body[:, ::-1].copy())
    clips[23].subject, clips[23].camera = '6', '2'
    assert examine(write(clips)).findings == []


def test_repeated_ids(write, clips):
    path = write(clips, splits={})
    with edit(path, 3) as arrays:
        arrays['row']['clip_id'] = b'clip_004'
    diagnosis = examine(path)
    assert found(diagnosis) == {('duplicates', 'error'), ('splits', 'note')}
    assert diagnosis.findings[0].examples == ('clip_004',)


@pytest.fixture
def videos(tmp_path):
    pytest.importorskip('decord')
    cv2 = pytest.importorskip('cv2')

    def make(name, frames):
        code = cv2.VideoWriter_fourcc(*'mp4v')
        writer = cv2.VideoWriter(str(tmp_path / name), code, 30, (64, 48))
        if not writer.isOpened():
            pytest.skip('OpenCV cannot write mp4 here')
        for value in range(frames):
            writer.write(np.full((48, 64, 3), 5 * value, np.uint8))
        writer.release()

    make('right.mp4', 12)
    make('short.mp4', 10)
    make('long.mp4', 30)
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    return tmp_path


def test_frame_counts_of_videos(write, videos):
    def check(name):
        clips = [make_clip(i, video=name if i == 3 else 'right.mp4') for i in range(24)]
        splits = dict(a_train={'camera': ['1', '2']})
        diagnosis = examine(write(clips, f'store_{name}', splits=splits), videos=videos)
        assert diagnosis.checks[-1] == 'videos'
        return [finding for finding in diagnosis.findings if finding.check == 'videos']

    assert check('right.mp4') == [] and check('folder/right.mp4') == []
    expected = [
        ('short.mp4', 'error', 'fewer frames'),
        ('broken.mp4', 'error', 'cannot be opened'),
        ('absent.mp4', 'warning', 'not in the folder'),
        ('long.mp4', 'warning', 'much longer'),
    ]
    for name, severity, text in expected:
        (finding,) = check(name)
        assert finding.severity == severity and text in finding.message
        assert finding.examples == (name,)


def test_no_videos(write, clips, tmp_path):
    pytest.importorskip('decord')
    assert only(examine(write(clips), videos=tmp_path)).message == 'no clip names a video'
    with pytest.raises(ConfigError, match='--videos'):
        examine(tmp_path / 'store', videos=tmp_path / 'nothing')
