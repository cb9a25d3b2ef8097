from collections import Counter

import numpy as np
import pytest

from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.sources import ntu
from bharnet_mm.datasets.sources.ntu_text import (
    COLOR,
    TRACKING,
    SkeletonText,
    format_skeleton,
    parse_skeleton,
)
from bharnet_mm.errors import SourceError

CLIP_ID = 'S001C002P003R002A013'


def person(frames, motion=1.0, x=0.0, wide=False, seed=0):
    """One body over some frames: standing at x, more motion the larger ``motion``."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((len(frames), 25, 12))
    joints[..., 1] = np.linspace(-0.9, 0.9, 25)  # 1.8 m tall
    joints[..., 0] = x + np.linspace(-1, 1, 25) * (1.0 if wide else 0.2)
    joints[..., 2] = 3.0
    joints[..., :3] += motion * np.sin(np.asarray(frames))[:, None, None] * 0.1
    joints[..., COLOR] = 100 + rng.random((len(frames), 25, 2)) * 800
    joints[..., TRACKING] = 2
    return np.asarray(frames), joints


def text_of(num_frames, bodies):
    """``bodies``: list of (frames, joints), with ids in the order of the list."""
    frame = np.concatenate([frames for frames, _ in bodies])
    ids = np.concatenate([np.full(len(f), 2**56 + 1 + n) for n, (f, _) in enumerate(bodies)])
    joints = np.concatenate([joints for _, joints in bodies])
    order = np.argsort(frame, kind='stable')
    header = np.zeros((len(frame), 9))
    return SkeletonText(
        num_frames, frame[order].astype(np.int32), ids[order], header[order], joints[order]
    )


def convert(num_frames, *bodies):
    repaired = Counter()
    clip = ntu.skeleton_to_clip(text_of(num_frames, bodies), CLIP_ID, repaired)
    clip.validate('kinect_v2', None, 120)
    return clip, repaired


def test_one_body_through_the_text():
    text = text_of(20, [person(range(20))])
    read = parse_skeleton(format_skeleton(text), CLIP_ID)
    clip = ntu.skeleton_to_clip(read, CLIP_ID, repaired := Counter())
    joints = np.vectorize(lambda v: float(f'{v:.7g}'))(text.joints).astype(np.float32)
    np.testing.assert_array_equal(clip.body[0], joints[..., :3])
    np.testing.assert_array_equal(clip.body_pixel[0], joints[..., 5:7])
    assert clip.body_score.tolist() == [[1.0] * 20]
    assert not repaired
    assert (clip.label, clip.subject, clip.camera, clip.setup) == (12, '3', '2', '1')
    assert (clip.video, clip.image_size, clip.fps) == (f'{CLIP_ID}_rgb.avi', (1920, 1080), 30.0)
    assert clip.frame_index.tolist() == list(range(20))


def test_two_bodies_the_one_that_moves_more_first():
    still, mover = person(range(30), 0.2, x=1), person(range(30), 3.0, x=-1)
    clip, repaired = convert(30, still, mover)
    assert clip.body.shape == (2, 30, 25, 3)
    np.testing.assert_allclose(clip.body[0], mover[1][..., :3], rtol=1e-6)
    np.testing.assert_allclose(clip.body[1], still[1][..., :3], rtol=1e-6)
    assert not repaired


def test_motion_is_the_sum_of_the_variances():
    frames, joints = person(range(40), 2.0)
    track = ntu.Track(frames, joints)
    flat = joints[..., :3].reshape(-1, 3)
    expected = ((flat - flat.mean(0)) ** 2).mean(0).sum()
    assert track.motion == pytest.approx(expected)
    shifted = joints.copy()
    shifted[..., :3] += 5.0
    assert ntu.Track(frames, shifted).motion == pytest.approx(expected)


def test_time_line_stays_whole():
    """A late body, a gap and empty frames: frame numbers are those of the video."""
    clip, repaired = convert(40, person([*range(5, 20), *range(25, 38)]))
    assert clip.body.shape == (1, 40, 25, 3)
    there = np.r_[5:20, 25:38]
    assert np.flatnonzero(clip.body_score[0] > 0).tolist() == there.tolist()
    assert repaired == {'frame without a body: kept, missing': 12}


def test_a_body_that_appears_late():
    clip, _ = convert(30, person(range(30), 3.0), person(range(18, 30), 1.0, x=1))
    assert clip.num_persons == 2
    assert np.flatnonzero(clip.body_score[1] > 0).tolist() == list(range(18, 30))


def test_a_person_under_two_ids_becomes_one_actor():
    first, second = person(range(0, 15), 3.0), person(range(16, 30), 2.0)
    clip, repaired = convert(30, first, second)
    assert clip.num_persons == 1
    assert (clip.body_score[0] > 0).tolist() == [t != 15 for t in range(30)]
    assert repaired == {'frame without a body: kept, missing': 1}


def test_actor_two_collects_what_overlaps_actor_one():
    clip, _ = convert(
        40, person(range(40), 5.0), person(range(0, 15), 1.0, x=1), person(range(20, 40), 2.0, x=1)
    )
    assert clip.num_persons == 2
    assert (clip.body_score[1] > 0).tolist() == [t < 15 or t >= 20 for t in range(40)]


def test_a_third_person_is_dropped_and_counted():
    clip, repaired = convert(20, *(person(range(20), m, x=m) for m in (1.0, 3.0, 2.0)))
    assert clip.num_persons == 2
    assert clip.body[:, 0, 0, 0] == pytest.approx([2.8, 1.8], abs=1e-6)  # those with motion 3 and 2
    assert repaired == {'body beyond two actors: dropped': 1}


@pytest.mark.parametrize('frames, persons', [(11, 1), (12, 2)])
def test_short_bodies_are_noise(frames, persons):
    clip, repaired = convert(40, person(range(40)), person(range(frames), 9.0, x=1))
    assert clip.num_persons == persons
    assert sum(repaired.values()) == (persons == 1)


def test_wide_bodies_are_noise_above_the_share():
    frames, joints = person(range(100), 9.0, x=2)
    wide = person(range(100), 9.0, x=2, wide=True)[1]
    for share, persons in ((70, 1), (69, 2)):
        mixed = np.where((np.arange(100) < share)[:, None, None], wide, joints)
        assert ntu.Track(frames, mixed).spread_share == share / 100
        clip, _ = convert(100, person(range(100)), (frames, mixed))
        assert clip.num_persons == persons


def test_the_only_body_stays_however_short_or_wide():
    clip, _ = convert(5, person(range(5), wide=True))
    assert clip.num_persons == 1
    clip, repaired = convert(8, person(range(8), 1.0), person(range(8), 2.0, x=1))
    assert clip.num_persons == 1 and clip.body[0, 0, 0, 0] > 0.5
    assert sum(repaired.values()) == 1


def test_an_id_twice_in_a_frame_counts_once():
    text = text_of(20, [person(range(20)), person([7], x=3)])
    text = SkeletonText(20, text.frame, np.full(21, 5), text.header, text.joints)
    clip = ntu.skeleton_to_clip(text, CLIP_ID, repaired := Counter())
    assert clip.num_persons == 1 and clip.body[0, 7, 0, 0] < 1
    assert repaired == {'body id twice in a frame: the first is kept': 1}


def test_ids_that_differ_by_one_beyond_float_precision_stay_apart():
    clip, _ = convert(20, person(range(20)), person(range(20), 2.0, x=1))
    assert float(2**56 + 1) == float(2**56 + 2)  # what a float would make of the two ids
    assert clip.num_persons == 2


def test_unusable_bodies_are_missing():
    frames, joints = person(range(20))
    joints[3, 7, 1] = np.nan
    joints[4, ..., :3] = 0
    joints[5, ..., TRACKING] = 0
    joints[6, :, TRACKING] = 1
    joints[8, 2, 5] = np.inf
    clip, repaired = convert(20, (frames, joints))
    assert np.flatnonzero(clip.body_score[0] == 0).tolist() == [3, 4, 5]
    assert clip.body_score[0, 6] == 0.5
    assert clip.body_pixel[0, 8, 2].tolist() == [-1, -1]
    assert sorted(repaired.values()) == [1, 1, 2, 3]


def test_no_usable_body(tmp_path):
    frames, joints = person(range(20))
    joints[..., 0] = np.nan
    path = tmp_path / f'{CLIP_ID}.skeleton'
    path.write_bytes(format_skeleton(text_of(20, [(frames, joints)])))
    converted = ntu.read_skeleton_file(str(path))
    assert not converted.clips and converted.refused[0][1] == 'no usable body in any frame'


@pytest.mark.parametrize(
    'text, why', [(b'0\n', 'no frame'), (b'2\n0\n0\n', 'no body in any frame')]
)
def test_empty_files_are_refused(tmp_path, text, why):
    path = tmp_path / f'{CLIP_ID}.skeleton'
    path.write_bytes(text)
    assert ntu.read_skeleton_file(str(path)).refused[0][:2] == (CLIP_ID, why)


def test_the_list_of_missing_skeletons(tmp_path):
    path = tmp_path / 'missing.txt'
    path.write_text(
        '302 of the captured samples have missing or incomplete skeleton data.\r\n'
        'please ignore these files\r\n\r\nS001C002P005R002A008\r\nS001C002P006R001A008\r\n'
    )
    assert ntu.read_missing_list(path) == {'S001C002P005R002A008', 'S001C002P006R001A008'}
    path.write_text('nothing here\n')
    with pytest.raises(SourceError, match='no clip id'):
        ntu.read_missing_list(path)


def test_listing_refuses_unread(tmp_path):
    names = ['S018C001P001R001A061', 'S001C001P001R001A001', 'S001C002P005R002A008', 'notes']
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f'{name}.skeleton').touch()
    report = Report()
    paths = ntu.list_skeleton_files(tmp_path, report, {'S001C002P005R002A008'}, max_setup=17)
    assert paths == [str(tmp_path / 'a' / 'S001C001P001R001A001.skeleton')]
    assert report.found == 8
    assert {reason: len(names) for reason, names in report.refused.items()} == {
        'on the list of missing skeletons': 2,
        'setup above 17: not in NTU RGB+D 60': 2,
        'name is not of the form SsssCcccPpppRrrrAaaa': 2,
        'the same clip again': 1,
    }
    with pytest.raises(SourceError, match='no .skeleton file'):
        ntu.list_skeleton_files(tmp_path / 'nowhere', Report())
