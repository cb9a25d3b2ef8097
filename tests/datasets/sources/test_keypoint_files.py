"""OpenPose folders, .pose files, MediaPipe Tasks JSON and all lengths of Holistic vectors."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from bharnet_mm.datasets import BodyHandDataset, ClipStore
from bharnet_mm.datasets.sources import holistic
from bharnet_mm.datasets.sources.keypoint_files import READERS
from bharnet_mm.errors import ConfigError, SourceError
from bharnet_mm.layouts import get_layout


def tool(name, *arguments):
    path = Path(__file__).parents[3] / 'tools' / 'data' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'tool_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.command([*map(str, arguments), '--workers', '1'])


def body(joints, t, x=300.0, seed=0):
    """A person of 25 or 18 joints who moves to the right, in pixels of a 640 x 480 picture."""
    points = np.random.default_rng(seed).uniform(-80, 80, (joints, 2)) + (x + 2 * t, 240)
    return np.column_stack([points, np.full(joints, 0.8)])


def hand(t, x, seed=1):
    points = np.random.default_rng(seed).uniform(-15, 15, (21, 2)) + (x + 2 * t, 200)
    return np.column_stack([points, np.full(21, 0.6)])


def flat(points):
    return [] if points is None else np.round(points, 3).reshape(-1).tolist()


def person(pose, left=None, right=None):
    """What OpenPose 1.7 writes of a person."""
    return {
        'person_id': [-1],
        'pose_keypoints_2d': flat(pose),
        'face_keypoints_2d': [1.0, 2.0, 0.5] * 70,
        'hand_left_keypoints_2d': flat(np.zeros((21, 3)) if left is None else left),
        'hand_right_keypoints_2d': flat(np.zeros((21, 3)) if right is None else right),
        'pose_keypoints_3d': [],
        'face_keypoints_3d': [],
        'hand_left_keypoints_3d': [],
        'hand_right_keypoints_3d': [],
    }


def openpose(folder, joints=25, frames=12, scale=None):
    folder.mkdir(parents=True)
    for t in range(frames):
        one = body(joints, t)
        if t in (3, 4):
            one[7] = 0  # the left wrist is lost
        two = body(joints, t, x=520, seed=2)
        people = [person(one, hand(t, 250), None if t < 6 else hand(t, 350)), person(two)]
        people = people[::-1] if t % 2 else people  # OpenPose has no order
        people = [] if t == 8 else people
        if scale is not None:
            for p in people:
                for key in (
                    'pose_keypoints_2d',
                    'hand_left_keypoints_2d',
                    'hand_right_keypoints_2d',
                ):
                    rows = np.array(p[key]).reshape(-1, 3)
                    known = rows[:, 2] > 0
                    rows[known, :2] = scale(rows[known, :2])
                    p[key] = rows.reshape(-1).tolist()
        name = f'{folder.name}_{t:012d}_keypoints.json'
        (folder / name).write_text(json.dumps({'version': 1.3, 'people': people}))


@pytest.mark.parametrize('pattern, expected', [('(', 'a regular expression'), ('x', 'a group')])
def test_a_wrong_pattern_of_subjects_is_refused(tmp_path, pattern, expected):
    openpose(tmp_path / 'op' / 'wave' / 'a', 25)
    with pytest.raises(ConfigError, match=f'--subject-from.*{expected}'):
        tool('keypoints', tmp_path / 'op', tmp_path / 'out', '--subject-from', pattern)


@pytest.mark.parametrize('joints', [25, 18])
def test_openpose(tmp_path, joints, capsys):
    openpose(tmp_path / 'op' / 'wave' / 'a', joints)
    openpose(tmp_path / 'op' / 'clap' / 'b', joints, frames=10)
    (tmp_path / 'op' / 'clap' / '.DS_Store').write_text('x')
    (tmp_path / 'op' / 'clap' / 'notes.txt').write_text('x')
    assert tool('keypoints', tmp_path / 'op', tmp_path / 'out', '--image-size', '640x480') == 0
    store = ClipStore(tmp_path / 'out')
    assert store.body_layout.name == f'openpose_{joints}' and store.classes == ['clap', 'wave']
    assert store.units == ('pixel', 'pixel') and not store.verify()
    clip = store[store.find('wave/a')]
    assert clip.num_persons == 2 and clip.num_frames == 12
    assert (clip.body_score[:, 8] == 0).all() and (clip.body_score[:, 7] > 0).all()
    expected = np.stack([body(joints, t)[:, :2] for t in range(12)])
    who = int(np.argmin(np.abs(clip.body[:, 0, 0, 0] - expected[0, 0, 0])))
    seen = np.delete(np.arange(12), [3, 4, 8])
    np.testing.assert_allclose(clip.body[who, seen], expected[seen], atol=1e-2)
    np.testing.assert_allclose(clip.body_pixel[who, seen], expected[seen], atol=1e-2)
    np.testing.assert_allclose(clip.body_score[who, 0], 0.8, atol=1e-3)
    # The lost wrist is drawn through between frames 2 and 5, and known as missing.
    np.testing.assert_allclose(clip.body[who, 3:5, 7], expected[3:5, 7], atol=1e-2)
    assert np.argwhere(clip.body_joint_score[who] == 0)[:2].tolist() == [[3, 7], [4, 7]]
    assert (clip.body_pixel[who, 3:5, 7] == -1).all()
    assert (clip.hand_score[who, 0] > 0).tolist() == [t != 8 for t in range(12)]
    assert (clip.hand_score[who, 1] > 0).tolist() == [t >= 6 and t != 8 for t in range(12)]
    assert not clip.hand_score[1 - who].any()
    text = capsys.readouterr().out
    assert 'face_keypoints_2d in a frame: not kept' in text and 'clap/notes.txt' in text
    assert BodyHandDataset(store, [lambda results: results])[0]['body'].shape[-1] == 2


@pytest.mark.parametrize('scale', [lambda xy: xy / (640, 480), lambda xy: xy / (320, 240) - 1])
def test_openpose_of_other_scales(tmp_path, scale):
    openpose(tmp_path / 'op' / 'wave' / 'a', scale=scale)
    assert tool('keypoints', tmp_path / 'op', tmp_path / 'out', '--image-size', '640x480') == 0
    clip = ClipStore(tmp_path / 'out')[0]
    assert clip.units == ('fraction', 'fraction')
    expected = body(25, 0)[:, :2]
    who = int(np.argmin(np.abs(clip.body_pixel[:, 0, 0, 0] - expected[0, 0])))
    np.testing.assert_allclose(clip.body_pixel[who, 0], expected, atol=0.5)


def test_openpose_errors(tmp_path):
    def clip(content, name='a_0_keypoints.json'):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / name).write_text(content)
        return folder

    one = person(body(25, 0))
    for folder, says in (
        (clip('{"people": '), 'damaged JSON'),
        (clip('[1]'), 'no list of people'),
        (clip(json.dumps({'people': [one | {'pose_keypoints_2d': [1, 2, 3]}]})), '1 joints'),
        (clip(json.dumps({'people': [one | {'hand_left_keypoints_2d': [1.0]}]})), 'another length'),
        (clip(json.dumps({'people': []})), 'no body in any frame'),
        (clip('{}', 'a_x_keypoints.json'), 'without a frame number'),
    ):
        with pytest.raises(SourceError, match=says):
            READERS['openpose'](folder)


def landmarks(count, t, seed, visibility=True):
    points = np.random.default_rng(seed).uniform(0.3, 0.7, (count, 3)) + (0.01 * t, 0, 0)
    rows = [dict(zip('xyz', map(float, p), strict=True)) for p in points]
    return [row | {'visibility': 0.9} for row in rows] if visibility else rows


def near(count, wrist, seed):
    rows = landmarks(count, 0, seed, False)
    shift = {k: wrist[k] - rows[0][k] for k in 'xyz'}
    return [{k: row[k] + shift[k] for k in 'xyz'} | {'visibility': 0} for row in rows]


def test_tasks_of_the_holistic_landmarker(tmp_path):
    frames = []
    for t in range(6):
        pose = landmarks(33, t, 0)
        pose[0]['visibility'] = 0.25
        frames.append(
            {
                'timestamp': 33 * t,
                'poseLandmarks': [pose],  # JavaScript nests the one person
                'poseWorldLandmarks': [landmarks(33, t, 3)],
                'faceLandmarks': [],
                'leftHandLandmarks': [] if t == 2 else [landmarks(21, t, 1, False)],
                'rightHandLandmarks': [],
            }
        )
    (tmp_path / 't' / 'hello').mkdir(parents=True)
    content = {'imageWidth': 640, 'imageHeight': 480, 'fps': 30, 'frames': frames}
    (tmp_path / 't' / 'hello' / 'a.json').write_text(json.dumps(content))
    python = [
        {
            'pose_landmarks': landmarks(33, t, 0),
            'left_hand_landmarks': landmarks(21, t, 1, False),
            'right_hand_landmarks': None,
        }
        for t in range(4)
    ]
    (tmp_path / 't' / 'hello' / 'b.json').write_text('\n'.join(map(json.dumps, python)))
    (tmp_path / 't' / 'hello' / 'c.json').write_text('[[1]]')
    report = tmp_path / 'r.json'
    options = ['--image-size', '640x480', '--report', report]
    assert tool('keypoints', tmp_path / 't', tmp_path / 'out', *options) == 0
    report = json.loads(report.read_text())
    assert report['repaired']['pose_world_landmarks in a frame: not kept'] == 6
    assert list(report['refused']['ill-formed']) == ['hello/c']
    store = ClipStore(tmp_path / 'out')
    a, b = store[0], store[1]
    expected = [[p['x'], p['y'], p['z']] for p in landmarks(33, 3, 0)]
    np.testing.assert_allclose(a.body[0, 3], expected, rtol=1e-5)
    np.testing.assert_allclose(b.body[0, 3], expected, rtol=1e-5)
    assert a.image_size == (640, 480) and a.fps == 30 and store.units == ('fraction', 'fraction')
    assert (a.hand_score[0, 0] > 0).tolist() == [True, True, False, True, True, True]
    assert not a.hand_score[0, 1].any()
    np.testing.assert_allclose(a.body_joint_score[0, 0, :2], [0.25, 0.9], atol=1e-3)
    np.testing.assert_allclose(a.body_pixel[0, 0, 5], a.body[0, 0, 5, :2] * (640, 480), rtol=1e-5)


def test_tasks_hands_go_to_the_nearest_wrist(tmp_path):
    pose = landmarks(33, 0, 0)
    left, right = near(21, pose[15], 4), near(21, pose[16], 5)
    named = {
        'landmarks': [right, left],
        'handedness': [[{'categoryName': 'Left', 'score': 0.9}]] * 2,
    }
    path = tmp_path / 'a.json'
    path.write_text(json.dumps([{'pose': {'landmarks': [pose]}, 'hands': named}]))
    (person_,) = READERS['tasks'](path)['frames'][0]
    for side, wrist in enumerate((pose[15], pose[16])):
        assert person_.hands[side][0][0, 0] == pytest.approx(wrist['x'], abs=1e-6)
        assert (person_.hands[side][1] == 1).all()
    path.write_text(
        json.dumps(
            [named | {'handedness': [[{'categoryName': 'Right'}], [{'categoryName': 'Left'}]]}]
        )
    )
    (alone,) = READERS['tasks'](path)['frames'][0]
    assert not alone.body[1].any()
    assert alone.hands[1][0][0, 0] == pytest.approx(right[0]['x'], abs=1e-6)
    path.write_text(json.dumps([{'pose_landmarks': [landmarks(32, 0, 0)]}]))
    with pytest.raises(SourceError, match='32 landmarks in place of 33'):
        READERS['tasks'](path)


def write_pose(path, missing_frame=2):
    pose_format = pytest.importorskip('pose_format')
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

    joints = get_layout('mediapipe_pose').joints
    counts = {
        'POSE_LANDMARKS': [joint.upper() for joint in joints],
        'FACE_LANDMARKS': [str(i) for i in range(10)],
        'LEFT_HAND_LANDMARKS': [str(i) for i in range(21)],
        'RIGHT_HAND_LANDMARKS': [str(i) for i in range(21)],
    }
    components = [PoseHeaderComponent(n, p, [], [], 'XYZC') for n, p in counts.items()]
    header = PoseHeader(0.1, PoseHeaderDimensions(640, 480, 0), components)
    data = np.random.default_rng(0).uniform(100, 400, (6, 1, 85, 3)).astype(np.float32)
    confidence = np.ones((6, 1, 85), np.float32)
    confidence[missing_frame, :, 43:64] = 0
    confidence[4, 0, 15] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'wb') as stream:
        pose_format.Pose(header, NumPyPoseBody(25, data, confidence)).write(stream)
    return data[:, 0]


def test_pose_files(tmp_path):
    data = write_pose(tmp_path / 'p' / 'hello' / 'a.pose')
    report = tmp_path / 'r.json'
    assert tool('keypoints', tmp_path / 'p', tmp_path / 'out', '--report', report) == 0
    store = ClipStore(tmp_path / 'out')
    clip = store[0]
    assert clip.image_size == (640, 480) and clip.fps == 25 and clip.units == ('pixel', 'pixel')
    whole = [0, 1, 2, 3, 5]
    np.testing.assert_allclose(clip.body[0, whole], data[whole, :33], rtol=1e-4)
    np.testing.assert_allclose(clip.hand[0, 1], data[:, 64:], rtol=1e-4)
    assert (clip.hand_score[0, 0] > 0).tolist() == [True, True, False, True, True, True]
    np.testing.assert_allclose(clip.body[0, 4, 15], (data[3, 15] + data[5, 15]) / 2, rtol=1e-4)
    assert clip.body_joint_score[0, 4, 15] == 0 and (clip.body_pixel[0, 4, 15] == -1).all()
    repaired = json.loads(report.read_text())['repaired']
    assert repaired['component FACE_LANDMARKS of a .pose file: not kept'] == 1


def test_clips_of_another_kind_are_refused(tmp_path):
    openpose(tmp_path / 'k' / 'wave' / 'a', 25)
    openpose(tmp_path / 'k' / 'wave' / 'b', 18)
    report = tmp_path / 'r.json'
    assert tool('keypoints', tmp_path / 'k', tmp_path / 'out', '--report', report) == 0
    (text,) = json.loads(report.read_text())['refused']['ill-formed'].values()
    assert 'openpose_18' in text and 'openpose_25' in text


def parts(frames=8, seed=0, width=4, face=0):
    random = np.random.default_rng(seed)
    pose = random.uniform(0.2, 0.8, (frames, 33, width)).astype(np.float32)
    mesh = random.uniform(0.4, 0.6, (frames, face, 3)).astype(np.float32)
    if face:
        mesh[:, 1] = pose[:, 0, :3] + 0.004
    hands = random.uniform(0.2, 0.8, (2, frames, 21, 3)).astype(np.float32)
    hands[0, 3] = 0
    return pose, mesh, hands


def join(*arrays):
    return np.concatenate([a.reshape(len(a), -1) for a in arrays], axis=1)


@pytest.mark.parametrize(
    ('width', 'face', 'numbers'),
    [(3, 0, 225), (4, 0, 258), (3, 468, 1629), (4, 468, 1662), (4, 478, 1692)],
)
def test_holistic_vectors_of_all_lengths(width, face, numbers):
    pose, mesh, hands = parts(width=width, face=face)
    vectors = join(pose, mesh, *hands)
    assert vectors.shape[1] == numbers
    found = holistic.split_vectors(vectors, 'a')
    np.testing.assert_array_equal(found['body'][0], pose[..., :3])
    np.testing.assert_array_equal(found['hand'][0], hands)
    assert found['hand_score'][0, 0].tolist() == [1, 1, 1, 0, 1, 1, 1, 1]
    if width == 4:
        np.testing.assert_array_equal(found['body_joint_score'][0], pose[..., 3])
    else:
        assert found['body_joint_score'] is None and (found['body_score'] == 1).all()


def test_tables_of_543_landmarks_are_told_by_the_noses():
    pose, mesh, hands = parts(width=3, face=468)
    hands[0, 3] = np.nan  # how these tables say that a part is missing
    vectors = join(mesh, hands[0], pose, hands[1])
    found = holistic.split_vectors(vectors, 'a')
    np.testing.assert_array_equal(found['body'][0], pose)
    np.testing.assert_array_equal(found['hand'][0, 1], hands[1])
    assert found['hand_score'][0, 0, 3] == 0 and np.isfinite(found['hand']).all()
    vectors[:, : 468 * 3] = 0  # no face at all
    with pytest.raises(ConfigError, match='--order pose-face-hands or face-left-pose-right'):
        holistic.split_vectors(vectors, 'a')
    found = holistic.split_vectors(vectors, 'a', 'face-left-pose-right')
    np.testing.assert_array_equal(found['body'][0], pose)
