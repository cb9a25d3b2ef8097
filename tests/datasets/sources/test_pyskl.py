import pickle

import numpy as np
import pytest

from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.sources import pyskl
from bharnet_mm.datasets.store import ClipStore, StoreWriter
from bharnet_mm.errors import ConfigError, SourceError
from bharnet_mm.layouts import get_layout

mmengine = pytest.importorskip('mmengine')


def annotation(clip_id, label=0, persons=2, frames=8, joints=17, channels=2, seed=0, **more):
    rng = np.random.default_rng(seed)
    keypoint = (rng.random((persons, frames, joints, channels)) * 100 + 1).astype(np.float32)
    made = dict(frame_dir=clip_id, label=label, total_frames=frames, keypoint=keypoint)
    made |= dict(img_shape=(480, 640), original_shape=(480, 640))
    if channels == 2:
        made['keypoint_score'] = rng.random((persons, frames, joints)).astype(np.float32)
    return made | more


def read(record, layout='coco', channels=2):
    return pyskl.AnnotationReader(get_layout(layout), channels)(record)


def test_two_dimensional_keypoints():
    record = annotation('clip', 3)
    record['keypoint'][1] *= 5  # moves more
    record['keypoint_score'][0, 2] = 0
    clip = read(record).clips[0]
    clip.validate('coco', None, 4)
    np.testing.assert_array_equal(clip.body, record['keypoint'][::-1])
    np.testing.assert_array_equal(clip.body_pixel, clip.body)
    np.testing.assert_allclose(clip.body_score[0], record['keypoint_score'][1].mean(-1), rtol=1e-6)
    assert clip.body_score[1, 2] == 0
    assert clip.image_size == (640, 480) and clip.label == 3


def test_three_dimensional_keypoints_of_ntu():
    record = annotation('S001C002P003R002A013', 12, joints=25, channels=3)
    record['keypoint'] = record['keypoint'].astype(np.float16)
    record['keypoint'][1, 4:] = 0
    clip = read(record, 'kinect_v2', 3).clips[0]
    clip.validate('kinect_v2', None, 60)
    assert (clip.subject, clip.camera, clip.setup) == ('3', '2', '1')
    assert clip.body.dtype == np.float32 and clip.body_pixel is None
    assert sorted((clip.body_score > 0).sum(1).tolist()) == [4, 8]


def test_whole_body_becomes_body_and_hands():
    record = annotation('clip', persons=1, joints=133)
    record['keypoint_score'][0, 3, 91:112] = 0
    record['keypoint'][0, 5, 120] = np.nan
    converted = read(record, 'coco_wholebody')
    clip = converted.clips[0]
    clip.validate('coco', 'hand', 1)
    np.testing.assert_array_equal(clip.hand[0, 0, 0], record['keypoint'][0, 0, 91:112])
    np.testing.assert_array_equal(clip.hand[0, 1, 0], record['keypoint'][0, 0, 112:])
    assert np.argwhere(clip.hand_score == 0).tolist() == [[0, 0, 3]]
    lost = (clip.hand_joint_score == 0) & (clip.hand_score > 0)[..., None]
    assert np.argwhere(lost).tolist() == [[0, 1, 5, 8]]  # the joint that is not a number
    assert not converted.repaired and clip.num_missing_joints == 1


def test_repairs_are_counted():
    record = annotation('clip')
    record['keypoint'] = record['keypoint'].astype(np.int64)
    record['keypoint_score'] += 1
    converted = read(record)
    clip = converted.clips[0]
    assert clip.body.dtype == np.float32 and clip.body.max() > 1 and clip.body_score.max() == 1
    assert converted.repaired == {
        'clip of integer coordinates: made float32': 1,
        'body score above 1: made 1': 16,
    }


@pytest.mark.parametrize(
    'change, says',
    [
        (dict(total_frames=9), 'total_frames 9'),
        (dict(label=None), 'no label'),
        (dict(keypoint=None), 'no keypoint'),
        (dict(keypoint=np.ones((2, 8, 16, 2))), '16 joints of 2 channels'),
        (dict(keypoint=np.ones((8, 17, 2))), 'shape'),
        (dict(keypoint_score=np.ones((2, 8, 16))), 'keypoint_score of shape'),
        (dict(keypoint=np.array([['a']])), 'type <U1'),
        (dict(keypoint_score='high'), 'high'),
        (dict(img_shape=480), 'img_shape'),
        (dict(label='walk'), 'walk'),
    ],
)
def test_ill_formed_annotations(change, says):
    with pytest.raises(SourceError, match=f"'clip 7'.*{says}"):
        read(annotation('clip 7', **change))


def test_nobody():
    record = annotation('clip', keypoint=np.zeros((2, 8, 17, 2), np.float32))
    assert read(record).refused[0][1] == 'nobody visible in any frame'


def test_load_both_forms(tmp_path):
    records = [annotation('a'), annotation('b')]
    for data, splits in (
        (records, {}),
        (dict(split=dict(train=['a']), annotations=records), {'train': ['a']}),
    ):
        (tmp_path / 'x.pkl').write_bytes(pickle.dumps(data))
        loaded, got = pyskl.load_annotations(tmp_path / 'x.pkl')
        assert [r['frame_dir'] for r in loaded] == ['a', 'b'] and got == splits
    for data in ({}, [], [1], dict(annotations=records, split=3), 'text'):
        (tmp_path / 'x.pkl').write_bytes(pickle.dumps(data))
        with pytest.raises(SourceError, match='another structure'):
            pyskl.load_annotations(tmp_path / 'x.pkl')


def test_split_rules_name_only_what_is_there():
    report = Report()
    splits = dict(xsub_train=['a', 'b', 'b'], xsub_val=['c', 'gone'], val=['c'], none=['gone'])
    rules = pyskl.split_rules(splits, ['a', 'b', 'c'], report)
    assert rules == {
        'xsub_train': {'clip_id': ['a', 'b']},
        'xsub_val': {'clip_id': ['c']},
        'xsub_test': {'clip_id': ['c']},
        'val': {'clip_id': ['c']},
        'test': {'clip_id': ['c']},
    }
    assert len(report.notes) == 4


def test_layout_by_joints():
    for joints, name in ((17, 'coco'), (25, 'kinect_v2'), (133, 'coco_wholebody')):
        assert pyskl.layout_of([annotation('a', joints=joints)]).name == name
    assert pyskl.layout_of([{}, annotation('a', joints=21)], 'hand').name == 'hand'
    with pytest.raises(ConfigError, match='None for 19 joints'):
        pyskl.layout_of([annotation('a', joints=19)])
    with pytest.raises(ConfigError, match='coco for 25 joints'):
        pyskl.layout_of([annotation('a', joints=25)], 'coco')
    with pytest.raises(SourceError, match='no keypoint'):
        pyskl.layout_of([dict(frame_dir='a', label=0)])


def test_class_names(tmp_path):
    ntu = [annotation('S001C002P003R002A013', 12)]
    assert len(pyskl.class_names(ntu)) == 60
    assert len(pyskl.class_names([*ntu, annotation('S018C002P003R002A061', 60)])) == 120
    assert pyskl.class_names([annotation('a', 2)]) == ['0', '1', '2']
    (tmp_path / 'names.txt').write_text('walk\nrun\n')
    assert pyskl.class_names([annotation('a', 1)], tmp_path / 'names.txt') == ['walk', 'run']
    with pytest.raises(SourceError, match='2 names and labels up to 2'):
        pyskl.class_names([annotation('a', 2)], tmp_path / 'names.txt')


@pytest.fixture
def store(tmp_path):
    """Three whole-body clips; the second has no right hand, the third a person that leaves."""
    records = [annotation(f'clip{i}', i, joints=133, frames=6 + i, seed=i) for i in range(3)]
    records[1]['keypoint_score'][:, :, 112:] = 0
    records[2]['keypoint_score'][1, 4:] = 0
    splits = dict(xsub_train=dict(clip_id=['clip0', 'clip1']), xsub_test=dict(clip_id=['clip2']))
    with StoreWriter(
        tmp_path / 'store',
        name='s',
        body_layout='coco',
        hand_layout='hand',
        body_channels='xy',
        hand_channels='xy',
        classes=['a', 'b', 'c'],
        splits=splits | dict(odd_test=dict(subject=['nobody'])),
        pixels=True,
    ) as writer:
        for record in records:
            writer.add(read(record, 'coco_wholebody').clips[0])
    return ClipStore(tmp_path / 'store')


@pytest.mark.parametrize('part, joints', [('body', 17), ('unified', 17 + 42)])
def test_export_is_read_by_mmaction2(tmp_path, store, part, joints):
    pytest.importorskip('mmaction')
    from bharnet_mm import compat

    compat.apply()
    from mmaction.datasets import PoseDataset

    path = tmp_path / f'{part}.pkl'
    pyskl.export_annotations(store, path, part, report := Report())
    assert (report.kept, report.frames) == (3, 6 + 7 + 8)
    assert len(report.notes) == 1 and 'odd_test' in report.notes[0]
    pipeline = [
        dict(type='UniformSampleFrames', clip_len=5, num_clips=1),
        dict(type='PoseDecode'),
        dict(type='FormatGCNInput', num_person=2),
        dict(type='PackActionInputs'),
    ]
    from mmengine.registry import init_default_scope

    init_default_scope('mmaction')
    assert len(PoseDataset(str(path), pipeline, split='xsub_val', test_mode=True)) == 1
    data = PoseDataset(str(path), pipeline, split='xsub_train', test_mode=True)
    assert len(data) == 2
    packed = data[1]
    assert packed['inputs'].shape == (1, 2, 5, joints, 3)  # x, y, score
    assert packed['data_samples'].gt_label.item() == 1
    info = data.get_data_info(1)
    clip = store[store.find('clip1')]
    np.testing.assert_array_equal(info['keypoint'][:, :, :17], clip.body)
    assert tuple(info['img_shape']) == (480, 640)
    if part == 'unified':
        np.testing.assert_array_equal(info['keypoint'][:, :, 17:38], clip.hand[:, 0])
        assert not info['keypoint'][:, :, 38:].any()


def test_export_and_import_again(tmp_path, store):
    pyskl.export_annotations(store, tmp_path / 'a.pkl')
    records, splits = pyskl.load_annotations(tmp_path / 'a.pkl')
    assert splits['xsub_test'] == splits['xsub_val'] == ['clip2']
    for record in records:
        clip, old = read(record).clips[0], store[store.find(record['frame_dir'])]
        np.testing.assert_array_equal(clip.body, old.body)
        np.testing.assert_allclose(clip.body_score, old.body_score, rtol=1e-6)


def test_what_cannot_be_exported(tmp_path, store):
    with pytest.raises(ConfigError, match='.pkl'):
        pyskl.export_annotations(store, tmp_path / 'a.pickle')
    with StoreWriter(
        tmp_path / 'b', name='b', body_layout='coco', hand_layout=None, classes=['a']
    ) as _:
        pass
    with pytest.raises(ConfigError, match='no hands'):
        pyskl.export_annotations(ClipStore(tmp_path / 'b'), tmp_path / 'b.pkl', 'unified')
