"""Joints that are missing by themselves are filled, counted and known as missing everywhere."""

import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from bharnet_mm.apis.doctor.examine import examine
from bharnet_mm.datasets import BodyHandDataset, ClipStore, StoreWriter
from bharnet_mm.datasets.clip import pipeline_input
from bharnet_mm.datasets.extraction.association import find_arms
from bharnet_mm.datasets.joints import fill_joints, joint_scores
from bharnet_mm.datasets.regions import ClipRegions, RegionGrid
from bharnet_mm.datasets.transforms import (
    FormatBodyHand,
    InterpolateMissing,
    NormalizeSkeleton,
    RandomMirror,
    SampleWindow,
    SelectJoints,
)
from bharnet_mm.layouts import get_layout

COCO = get_layout('coco')
WRIST = COCO.index('left_wrist')
LOST = range(4, 20)


def moving(frames=24, joints=17, persons=1):
    """Everything moves evenly to the right: a fill can be computed in the head."""
    start = np.random.default_rng(0).uniform(100, 200, (persons, 1, joints, 2))
    step = np.stack([np.arange(frames) * 2.0, np.zeros(frames)], axis=-1)[None, :, None]
    return (start + step).astype(np.float32)


@pytest.fixture
def lost_wrist(tmp_path):
    """A pickle as an estimator leaves it: a wrist at (0, 0) with score 0 in 16 of 24 frames."""
    keypoint, score = moving(), np.ones((1, 24, 17), np.float32)
    keypoint[0, LOST, WRIST], score[0, LOST, WRIST] = 0, 0
    rows = [
        dict(
            frame_dir=f'clip{i}',
            label=i % 2,
            total_frames=24,
            img_shape=(480, 640),
            keypoint=keypoint,
            keypoint_score=score,
        )
        for i in range(3)
    ]
    rows[2] = rows[2] | dict(keypoint=moving(), keypoint_score=np.ones((1, 24, 17), np.float32))
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(rows))
    return tmp_path / 'a.pkl'


def convert(source, out, *options):
    tool = Path(__file__).parents[2] / 'tools' / 'data' / 'pyskl.py'
    spec = importlib.util.spec_from_file_location('tool_pyskl', tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.command([str(source), str(out), *options]) == 0
    return out


def test_the_wrist_is_not_at_the_corner_of_the_picture(lost_wrist, tmp_path, capsys):
    out = convert(lost_wrist, tmp_path / 'out', '--report', str(tmp_path / 'r.json'))
    report = json.loads((tmp_path / 'r.json').read_text())
    assert list(report['repaired'].values()) == [32] and 'joint missing' in str(report['repaired'])
    store = ClipStore(out)
    clip, whole = store[0], moving()
    # Too long to be drawn through: as in the nearest frame that shows it, up to the middle.
    np.testing.assert_array_equal(clip.body[0, 4:12, WRIST], np.tile(whole[0, 3, WRIST], (8, 1)))
    np.testing.assert_array_equal(clip.body[0, 12:20, WRIST], np.tile(whole[0, 20, WRIST], (8, 1)))
    assert (clip.body_pixel[0, LOST, WRIST] == -1).all()
    assert (clip.body_score > 0).all() and not store.verify()
    assert np.argwhere(clip.body_joint_score == 0)[:, 1].tolist() == list(LOST)
    assert (store[2].body_joint_score == 1).all()
    (found,) = [f for f in examine(out).findings if f.check == 'joints']
    assert found.count == 2 and '32 joints' in found.message
    (found,) = [f for f in examine(lost_wrist).findings if f.check == 'joints']
    assert found.severity == 'warning'


def test_regions_and_crops_do_not_look_for_it(lost_wrist, tmp_path):
    clip = ClipStore(convert(lost_wrist, tmp_path / 'out'))[0]
    grid = RegionGrid(('head', 'left_wrist'), num_frames=3, cell=8)
    regions = ClipRegions(grid, clip.body_pixel, clip.body_score > 0, COCO, clip.image_size)
    rows = [[box.row for box in regions.boxes(t, (640, 480))] for t in (0, 10)]
    assert rows == [[0, 1], [0]]
    sides = []
    for t in (0, 10):
        pixel = clip.body_pixel[0, t]
        known = ~(pixel == -1).all(axis=1)  # as the extraction takes it
        sides.append({arm.side for arm in find_arms(pixel, known.astype(float), COCO)})
    assert sides == [{0, 1}, {1}]


def test_the_data_set_says_it_and_a_channel_carries_it(lost_wrist, tmp_path):
    pipeline = [
        SampleWindow(num_frames=24, window=1.0),
        FormatBodyHand(num_persons=2, visibility=True),
    ]
    store = convert(lost_wrist, tmp_path / 'out')
    data = BodyHandDataset(store, pipeline)[0]
    expected = np.ones((2, 24, 17))
    expected[0, LOST, WRIST] = expected[1] = 0
    assert data['body'].shape == (2, 24, 17, 3) and 'body_joint_visible' not in data
    np.testing.assert_array_equal(data['body'][..., 2], expected)
    assert data['hand'].shape == (4, 24, 21, 3) and not data['hand'].any()
    strict = BodyHandDataset(store, [lambda results: results], min_joint_score=0.5)[0]
    assert not strict['body_joint_visible'][0, LOST, WRIST].any()


def test_no_feature_is_made_of_the_visibility_channel():
    # x and y; the channel of the visibility is added
    body = dict(type='DeGCN', layout='coco', in_channels=2, base_channels=16, num_blocks=1)
    torch.manual_seed(0)
    x = torch.rand(1, 1, 6, 17, 3)
    x[..., 2] = 1
    inputs = dict(body=x, body_mask=torch.ones(1, 1, 6, dtype=torch.bool))
    seen = []
    for feature in ('joint', 'bone', 'joint_motion'):
        model = dict(type='BodyHandBackbone', body=body, feature=feature, visibility=True)
        model = MODELS.build(model)
        model(inputs)  # with as many channels as it was built for
        model.experts['body'].forward_instances = lambda instances: seen.append(instances.x) or []
        model(inputs)
    for packed in seen:
        assert (packed[:, 2] == 1).all()
    assert not torch.equal(seen[0][:, :2], seen[1][:, :2])


def test_gaps_ends_and_joints_never_seen():
    x = moving(frames=12)
    known = np.ones((1, 12, 17), bool)
    known[0, 2:5, 0] = False  # a gap within: the line
    known[0, 9:, 1] = False  # the end: the last frame
    known[0, :, WRIST] = False  # never: the elbow
    known[0, :, [3, 1]] &= True
    damaged = np.where(known[..., None], x, np.nan).astype(np.float32)
    filled = fill_joints(damaged, np.ones((1, 12), bool), known, COCO)
    np.testing.assert_allclose(filled[0, :, 0], x[0, :, 0], atol=1e-4)
    np.testing.assert_array_equal(filled[0, 9:, 1], np.tile(x[0, 8, 1], (3, 1)))
    elbow = COCO.index('left_elbow')
    np.testing.assert_array_equal(filled[0, :, WRIST], x[0, :, elbow])
    assert np.isnan(damaged[0, 0, WRIST]).all()
    whole = np.ones((1, 12, 17), bool)
    assert fill_joints(x, np.ones((1, 12), bool), whole, COCO) is x


def test_without_any_ancestor_the_mean_of_the_others_is_taken():
    x = moving(frames=3)
    known = np.ones((1, 3, 17), bool)
    known[:, :, :5] = False  # nose, eyes and ears: the root among them
    filled = fill_joints(np.where(known[..., None], x, 0), np.ones((1, 3), bool), known, COCO)
    np.testing.assert_allclose(filled[0, :, 0], x[0, :, 5:].mean(axis=1), rtol=1e-6)


def test_a_longer_gap_takes_the_nearest_frame():
    x = moving(frames=20)
    known = np.ones((1, 20, 17), bool)
    known[0, 5:14, 2] = False  # nine frames
    filled = fill_joints(x, np.ones((1, 20), bool), known, COCO, max_gap=8)
    assert set(filled[0, 5:14, 2, 0].tolist()) == set(x[0, [4, 14], 2, 0].tolist())
    linear = fill_joints(x, np.ones((1, 20), bool), known, COCO, max_gap=9)
    np.testing.assert_allclose(linear, x, atol=1e-4)


def test_zeros_nan_and_scores_make_a_joint_missing_but_an_origin_does_not():
    x = moving(frames=3)
    visible = np.ones((1, 3), bool)
    assert joint_scores(x, visible) is None
    x[0, 1, 4], x[0, 2, 5] = 0, np.nan
    assert np.argwhere(joint_scores(x, visible) == 0).tolist() == [[0, 1, 4], [0, 2, 5]]
    score = np.full((1, 3, 17), 0.5, np.float32)
    score[0, 0, 7], score[0, 0, 8] = 0, np.nan
    found = joint_scores(x, visible, score)
    assert np.argwhere(found == 0).tolist() == [[0, 0, 7], [0, 0, 8], [0, 1, 4], [0, 2, 5]]
    centred = np.random.default_rng(0).normal(size=(1, 3, 17, 3)).astype(np.float32)
    centred[:, :, 0] = 0
    assert joint_scores(centred, visible) is None
    pixels = np.abs(centred)
    assert (joint_scores(pixels, visible)[:, :, 0] == 0).all()


def test_a_store_keeps_them_from_the_first_clip_that_has_some(tmp_path, make_clip):
    path, layout = tmp_path / 'store', get_layout('kinect_v2')
    plain = [make_clip(i, frames=4 + i) for i in range(3)]
    scored = make_clip(9, frames=6)
    scored.body_joint_score = np.full((1, 6, 25), 0.5, np.float16)
    scored.body_joint_score[0, 2, 3] = 0
    scored.body_score[0, 5] = 0
    names = dict(name='toy', body_layout=layout, classes=['a', 'b', 'c', 'd'])
    with StoreWriter(tmp_path / 'without', **names) as writer:
        for clip in plain:
            writer.add(clip)
    with StoreWriter(path, **names) as writer:
        writer.add(plain[0])
        writer.add(plain[1])
        writer.commit()
        writer.add(scored)
    with StoreWriter(path, append=True) as writer:
        writer.add(plain[2])
    store, without = ClipStore(path), ClipStore(tmp_path / 'without')
    assert not (tmp_path / 'without' / 'body_joint_score.bin').exists()
    assert without[0].body_joint_score is None and store.meta['joint_scores'] == ['body']
    assert not store.verify() and not without.verify()
    assert store.column('crc32')[:2].tolist() == without.column('crc32')[:2].tolist()
    assert (store[0].body_joint_score == 1).all() and (store[3].body_joint_score == 1).all()
    kept = store[2].body_joint_score[0]
    assert kept[2, 3] == 0 and not kept[5].any() and kept[0, 0] == 0.5
    data = bytearray((path / 'body_joint_score.bin').read_bytes())
    data[2 * 25 * (4 + 5) + 1] ^= 1
    (path / 'body_joint_score.bin').write_bytes(data)
    assert ClipStore(path).verify() == ['clip_009']


def results_of(known, hand_known=None):
    frames, joints = known.shape[1:]
    return {
        'clip_id': 'a',
        'body': moving(frames, joints),
        'body_visible': np.ones((1, frames), bool),
        'body_joint_visible': known,
        'body_layout': COCO,
        'hand': np.random.default_rng(0).normal(size=(1, 2, frames, 21, 2)).astype(np.float32),
        'hand_visible': np.ones((1, 2, frames), bool),
        'hand_layout': get_layout('hand'),
        **({} if hand_known is None else {'hand_joint_visible': hand_known}),
        'frame_index': np.arange(frames, dtype=np.int32),
    }


def test_transforms_carry_it_along():
    known = np.ones((1, 8, 17), bool)
    known[0, 2:6, WRIST] = False
    hands = np.ones((1, 2, 8, 21), bool)
    hands[0, 0, 3] = False
    mirrored = RandomMirror(prob=1.0)(results_of(known, hands))
    right = COCO.index('right_wrist')
    assert (~mirrored['body_joint_visible'])[0, :, right].nonzero()[0].tolist() == [2, 3, 4, 5]
    assert not mirrored['hand_joint_visible'][0, 1, 3].any()
    assert mirrored['hand_joint_visible'].sum() == hands.sum()
    sampled = SampleWindow(num_frames=4, window=1.0)(results_of(known))
    assert sampled['body_joint_visible'][0, :, WRIST].tolist() == [True, False, False, True]
    arm = ['left_elbow', 'left_wrist']
    few = SelectJoints(
        dict(
            name='arm',
            joints=arm,
            edges=[tuple(arm)],
            parents={'left_wrist': 'left_elbow'},
            center=arm[:1],
            scale=arm,
        )
    )
    assert few(results_of(known))['body_joint_visible'].sum(axis=1).tolist() == [[8, 4]]
    gap = results_of(known)
    gap['body_visible'] = np.array([[1, 0, 1, 1, 1, 1, 0, 1]], bool)
    joints = InterpolateMissing()(gap)['body_joint_visible'][0, :, WRIST]
    assert joints.tolist() == [True, False, False, False, False, False, False, True]


def test_a_filled_joint_is_neither_centre_nor_length_where_another_frame_has_it():
    known = np.ones((1, 4, 17), bool)
    shoulders = [COCO.index('left_shoulder'), COCO.index('right_shoulder')]
    known[0, :2, shoulders[0]] = False
    results = results_of(known)
    results['body'][0, :2, shoulders[0]] = 1e4  # a bad guess
    done = NormalizeSkeleton('body', center='first', scale='first')(results)['body']
    x = results['body'][0, 2]
    size = np.linalg.norm(x[shoulders[0]] - x[shoulders[1]])
    np.testing.assert_allclose(done[0, 2], (x - x[shoulders].mean(axis=0)) / size, rtol=1e-4)


def test_a_clip_that_never_was_in_a_store_is_filled_too(make_clip):
    score = np.ones((1, 5, 25), np.float32)
    score[0, 2, 4] = 0
    clip = make_clip(0, body_joint_score=score)
    layouts = get_layout('kinect_v2'), get_layout('hand')
    data = pipeline_input(clip, *layouts)
    expected = (clip.body[0, 1, 4] + clip.body[0, 3, 4]) / 2
    np.testing.assert_allclose(data['body'][0, 2, 4], expected, rtol=1e-5)
    assert not data['body_joint_visible'][0, 2, 4]
