"""Annotation pickles go through the same checks, read without running code."""

import os
import pickle

import numpy as np
import pytest
from broken_stores import found, only

from bharnet_mm.apis.doctor import examine
from bharnet_mm.errors import SourceError


@pytest.fixture
def data():
    annotations, split = [], {'xsub_train': [], 'xsub_val': []}
    for subject in (1, 2, 3, 8):
        for action in (1, 2, 3):
            random = np.random.default_rng(10 * subject + action)
            clip_id = f'S001C001P{subject:03d}R001A{action:03d}'
            body = random.normal([0, 0, 3], 0.3, (2, 10, 25, 3)).astype(np.float32)
            annotations.append(
                dict(frame_dir=clip_id, label=action - 1, total_frames=10, keypoint=body)
            )
            split['xsub_val' if subject in (3,) else 'xsub_train'].append(clip_id)
    return dict(split=split, annotations=annotations)


@pytest.fixture
def dump(tmp_path):
    def dump(data):
        path = tmp_path / 'data.pkl'
        path.write_bytes(pickle.dumps(data))
        return path

    return dump


def examine_errors(path):
    return [finding for finding in examine(path).findings if finding.severity == 'error']


def test_a_good_pickle(dump, data):
    diagnosis = examine(dump(data))
    # the classes take their names from the clip ids: of NTU's 60 only three are there
    finding = only(diagnosis)
    assert (finding.check, finding.severity, finding.count) == ('labels', 'warning', 57)
    assert diagnosis.kind == 'annotation pickle' and diagnosis.totals['clips'] == 12
    assert [row['clips'] for row in diagnosis.splits] == [9, 3]
    assert diagnosis.totals['subjects'] == 4


def test_not_finite(dump, data):
    data['annotations'][4]['keypoint'][0, 3, 5, 1] = np.nan
    (finding,) = examine_errors(dump(data))
    assert finding.check == 'finite' and finding.examples == ('S001C001P002R001A002',)


def test_integers(dump, data):
    for annotation in data['annotations']:
        annotation['keypoint'] = (annotation['keypoint'] * 100).astype(np.int32)
    (finding,) = examine_errors(dump(data))
    assert finding.check == 'repairs' and finding.count == 12
    assert 'every integer coordinate 0' in finding.fix


def test_half_precision_pixels(dump, data):
    for annotation in data['annotations']:
        annotation['keypoint'] = (annotation['keypoint'][..., :2] * 300 + 500).astype(np.float16)
    assert ('repairs', 'warning') in found(examine(dump(data)))


def test_clips_that_cannot_be_read(dump, data):
    data['annotations'][4]['total_frames'] = 11
    data['annotations'][5]['keypoint'][:] = 0
    findings = examine_errors(dump(data))
    assert {finding.check for finding in findings} == {'integrity'}
    assert {finding.examples for finding in findings} == {
        ('S001C001P002R001A002',),
        ('S001C001P002R001A003',),
    }


def test_splits(dump, data):
    data['split']['xsub_train'] += ['S001C001P009R001A001', 'S001C001P001R001A001']
    data['split']['other_train'] = ['absent']
    findings = examine(dump(data)).findings
    texts = {finding.severity: [] for finding in findings}
    for finding in findings:
        texts[finding.severity].append(finding.message)
    assert 'names 1 of 11 clips that are not there' in texts['error'][0]
    assert any('other_train holds no clip' in text for text in texts['error'])
    assert any('names 1 clips more than once' in text for text in texts['warning'])


def test_leakage_by_the_subjects_in_the_ids(dump, data):
    data['split']['xsub_val'].append(data['split']['xsub_train'].pop())
    (finding,) = examine_errors(dump(data))
    assert finding.check == 'leakage' and finding.examples == ('8',)


def test_repeated_annotation(dump, data):
    data['annotations'].append(data['annotations'][0])
    (finding,) = examine_errors(dump(data))
    assert finding.check == 'duplicates' and 'ids are there more than once' in finding.message


class Evil:
    def __reduce__(self):
        return os.mkdir, ('evil_was_here',)


def test_an_unsafe_pickle_is_refused(dump, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data['annotations'][0]['meta'] = Evil()
    with pytest.raises(SourceError, match='mkdir'):
        examine(dump(data))
    assert not (tmp_path / 'evil_was_here').exists()


def test_something_else_is_refused(tmp_path):
    (tmp_path / 'notes.txt').write_text('no pickle')
    with pytest.raises(SourceError):
        examine(tmp_path / 'notes.txt')
