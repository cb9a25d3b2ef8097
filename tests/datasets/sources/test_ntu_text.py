import numpy as np
import pytest

from bharnet_mm.datasets.sources.ntu_text import (
    NUM_JOINTS,
    TRACKING,
    SkeletonText,
    format_skeleton,
    parse_skeleton,
)
from bharnet_mm.errors import SourceError

FIRST_ID = 72057594037931101  # a real one: beyond 2 ** 53, where floats are 16 apart


def make(frames, seed=0):
    """``frames``: the body numbers present in each frame."""
    rng = np.random.default_rng(seed)
    frame = np.array([t for t, bodies in enumerate(frames) for _ in bodies], dtype=np.int32)
    body = np.array([b for bodies in frames for b in bodies], dtype=np.int64)
    joints = rng.normal(size=(len(frame), NUM_JOINTS, 12)) * 300
    joints[..., TRACKING] = rng.integers(0, 3, size=joints.shape[:2])
    header = np.zeros((len(frame), 9))
    header[:, 6:8] = rng.normal(size=(len(frame), 2))
    return SkeletonText(len(frames), frame, FIRST_ID + body, header, joints)


def printed(values):
    return np.vectorize(lambda value: float(f'{value:.7g}'))(values)


@pytest.mark.parametrize(
    'frames',
    [
        [[0]] * 5,
        [[0, 1]] * 4,
        [[0], [0], [1, 0], [1], []],  # a late body, another order, a frame without any
        [[], [0, 1, 2, 3, 4, 5], []],
    ],
)
@pytest.mark.parametrize('line_end', [b'\n', b'\r\n', b'\n\n'])
def test_round_trip(frames, line_end):
    skeleton = make(frames)
    text = format_skeleton(skeleton).replace(b'\n', line_end)
    read = parse_skeleton(text, 'a.skeleton')
    assert read.num_frames == len(frames)
    np.testing.assert_array_equal(read.frame, skeleton.frame)
    np.testing.assert_array_equal(read.body_id, skeleton.body_id)
    np.testing.assert_array_equal(read.joints, printed(skeleton.joints))
    np.testing.assert_array_equal(read.header, printed(skeleton.header))
    assert format_skeleton(read) == format_skeleton(skeleton)


def test_the_text_of_the_download():
    # first joint of a real file, as its format is discussed in the authors' issue tracker
    joint = '0.2410551 -0.171228 4.294691 283.0309 224.2974 1027.245 581.2726 '
    joint += '-0.2574076 0.123495 0.9539005 -0.09254229 2'
    head = '1\n1\n72057594037932358 0 0 0 0 0 0 0.33916 -0.5899565 2\n25\n'
    read = parse_skeleton((head + '\n'.join([joint] * 25) + '\n').encode(), 'a')
    assert read.body_id.tolist() == [72057594037932358]
    assert read.joints.shape == (1, 25, 12)
    assert read.joints[0, 0, 5] == 1027.245 and read.joints[0, 24, 2] == 4.294691


def test_no_frame_and_no_body():
    assert parse_skeleton(b'0\n', 'a').num_frames == 0
    empty = parse_skeleton(b'2\n0\n0\n', 'a')
    assert empty.num_frames == 2 and empty.joints.shape == (0, 25, 12)


@pytest.mark.parametrize('word', [b'NaN', b'-nan', b'-1.#IND', b'1.#QNAN', b'Infinity'])
def test_values_that_are_not_finite_are_read(word):
    lines = format_skeleton(make([[0]])).split(b'\n')
    values = lines[6].split()  # the third joint
    lines[6] = b' '.join([word, *values[1:]])
    joints = parse_skeleton(b'\n'.join(lines), 'a').joints
    assert not np.isfinite(joints[0, 2, 0])
    assert np.isfinite(joints).sum() == joints.size - 1


def lines_of(frames=((0,), (0, 1), (0,))):
    return format_skeleton(make(frames)).split(b'\n')[:-1]


def cut(lines):
    return lines[:-9]


def cut_in_a_line(lines):
    return [*lines[:-1], lines[-1][:20]]


def cut_at_a_frame(lines):
    return lines[: 1 + 1 + 2 + 25]


def wrong_joint_count(lines):
    return [*lines[:3], b'24', *lines[4:]]


def negative_bodies(lines):
    return [lines[0], b'-1', *lines[2:]]


def not_a_count(lines):
    return [b'3.5', *lines[1:]]


def missing_joint_line(lines):
    return [*lines[:10], *lines[11:]]


def eleven_values(lines):
    return [*lines[:10], b' '.join(lines[10].split()[1:]), *lines[11:]]


def eleven_then_thirteen(lines):
    short = b' '.join(lines[10].split()[1:])
    return [*lines[:10], short, lines[11] + b' 2', *lines[12:]]


def not_a_number(lines):
    return [*lines[:10], lines[10].replace(b'.', b',', 1), *lines[11:]]


def tracking_state(lines):
    return [*lines[:10], lines[10][:-1] + b'7', *lines[11:]]


def header_of_nine(lines):
    return [*lines[:2], lines[2].rsplit(b' ', 1)[0], *lines[3:]]


def header_id(lines):
    return [*lines[:2], b'1e17 ' + lines[2].split(b' ', 1)[1], *lines[3:]]


def more_after_the_end(lines):
    return [*lines, b'1']


@pytest.mark.parametrize(
    'damage, says',
    [
        (cut, 'end of the file'),
        (cut_in_a_line, 'joint 25'),
        (cut_at_a_frame, 'line 29 (frame 1): found the end of the file'),
        (wrong_joint_count, 'line 4 (frame 0): found 24 joints; expected 25'),
        (negative_bodies, "line 2 (frame 0): found '-1'"),
        (not_a_count, "line 1: found '3.5'"),
        (missing_joint_line, 'frame 0, joint 25: found 1 values'),
        (eleven_values, 'frame 0, joint 7: found 11 values'),
        (eleven_then_thirteen, 'frame 0, joint 7: found 11 values'),
        (not_a_number, 'frame 0, joint 7'),
        (tracking_state, 'frame 0, joint 7: found the tracking state 7'),
        (header_of_nine, 'line 3 (frame 0): found 9 values'),
        (header_id, 'header'),
        (more_after_the_end, 'line 113: found 1 line(s) after the last of 3 frames'),
        (lambda lines: [], 'an empty file'),
    ],
)
def test_ill_formed_text_says_where(damage, says):
    with pytest.raises(SourceError) as error:
        parse_skeleton(b'\n'.join(damage(lines_of())), 'S001.skeleton')
    assert 'S001.skeleton' in str(error.value) and says in str(error.value)
    assert 'expected' in str(error.value) and 'Fix:' in str(error.value)


def test_binary_rubbish():
    with pytest.raises(SourceError):
        parse_skeleton(np.random.default_rng(0).bytes(5000), 'a')
