"""Every check of the clips fires on a store broken in that one way, and is silent on a good one."""

from dataclasses import replace

import numpy as np
import pytest
from broken_stores import CLASSES, WRISTS, edit, found, make_clip, only

from bharnet_mm.apis.doctor import examine
from bharnet_mm.apis.doctor.facts import FACTS
from bharnet_mm.errors import StoreError


@pytest.mark.parametrize('hands', ['crop', 'metres', 'pixels', 'fractions'])
def test_silent_on_a_good_store(write, hands):
    diagnosis = examine(write([make_clip(number, hands=hands) for number in range(24)]))
    assert diagnosis.findings == [] and diagnosis.exit_status == 0
    assert diagnosis.totals['clips'] == 24 and diagnosis.totals['frames'] == 288
    assert diagnosis.totals['wrists_compared'] == (0 if hands == 'crop' else 24 * 2 * 12)
    assert diagnosis.totals['wrists_crossed'] == 0
    assert FACTS.itemsize < 200  # what is kept of a clip, whatever its length


def test_silent_on_bodies_alone(write, clips):
    for clip in clips:
        clip.hand_score[:] = 0
    assert examine(write(clips, hand_layout=None)).findings == []


def test_a_flipped_bit_is_found(write, clips):
    path = write(clips)
    data = bytearray((path / 'body.bin').read_bytes())
    data[7 * 12 * 25 * 3 * 4 + 100] ^= 1
    (path / 'body.bin').write_bytes(data)
    finding = only(examine(path))
    assert (finding.check, finding.severity, finding.count) == ('integrity', 'error', 1)
    assert finding.examples == ('clip_007',)


def test_a_truncated_file_is_found(write, clips):
    path = write(clips)
    with open(path / 'hand.bin', 'r+b') as stream:
        stream.truncate(1000)
    diagnosis = examine(path)
    assert (only(diagnosis).check, diagnosis.exit_status) == ('integrity', 1)
    assert 'hand.bin' in only(diagnosis).message and '1000 bytes' in only(diagnosis).message


def test_a_row_that_does_not_fit_is_found(write, clips):
    path = write(clips)
    with edit(path, 3) as arrays:
        arrays['row']['frames'] = 10**6
    finding = only(examine(path))
    assert finding.severity == 'error' and 'cannot be read' in finding.message
    assert finding.examples == ('clip_003',)


def test_no_store_there_is_an_error_of_its_own(tmp_path):
    with pytest.raises(StoreError, match='no such folder'):
        examine(tmp_path / 'nothing')


@pytest.mark.parametrize('value', [1.5, -0.5, np.nan])
def test_scores(write, clips, value):
    path = write(clips)
    with edit(path, 3) as arrays:
        arrays['hand_score'][0, 1, 2] = value
    diagnosis = examine(path)
    finding = diagnosis.of('error')[0]
    assert 'scores outside' in finding.message and finding.examples == ('clip_003',)


def test_frame_order(write, clips):
    path = write(clips)
    with edit(path, 3) as arrays:
        arrays['frame_index'][5] = 4
    assert 'do not rise' in only(examine(path)).message


@pytest.mark.parametrize('label', [-1, 4, 2**30])
def test_labels_outside_the_classes(write, clips, label):
    path = write(clips)
    with edit(path, 3) as arrays:
        arrays['row']['label'] = label
    finding = only(examine(path))
    assert (finding.check, finding.severity) == ('labels', 'error')
    assert str(label) in finding.message and finding.examples == ('clip_003',)


def test_classes_without_clips(write, clips):
    finding = only(examine(write(clips, classes=[*CLASSES, 'five', 'six'])))
    assert (finding.check, finding.severity) == ('labels', 'warning')
    assert finding.examples == ('five', 'six') and '4-5' in finding.message
    assert 'subtract' not in finding.fix


def test_labels_from_one(write, clips):
    shifted = [replace(clip, label=clip.label + 1) for clip in clips]
    finding = only(examine(write(shifted, classes=['a', *CLASSES])))
    assert finding.severity == 'warning' and 'count from 1, subtract 1' in finding.fix


def test_uneven_classes(write):
    clips = [make_clip(number, label=0) for number in range(24)]
    clips += [make_clip(24 + i, label=1, subject=str(1 + 4 * i), camera=str(i + 1)) for i in (0, 1)]
    finding = only(examine(write(clips, classes=CLASSES[:2])))
    assert (finding.check, finding.severity) == ('labels', 'note') and finding.examples == ('clap',)


@pytest.mark.parametrize('part', ['body', 'hand'])
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_not_finite(write, clips, part, value):
    path = write(clips)
    with edit(path, 3) as arrays:
        arrays[part].reshape(-1)[200] = value
    finding = only(examine(path))
    assert (finding.check, finding.severity, finding.count) == ('finite', 'error', 1)
    assert f'1 frames of a {part}' in finding.message and finding.examples == ('clip_003',)


@pytest.mark.parametrize('part', ['body', 'hand'])
def test_kilometres_away(write, clips, part):
    getattr(clips[3], part).reshape(-1)[200] = 5000.0
    finding = only(examine(write(clips)))
    assert (finding.check, finding.severity) == ('coordinates', 'error')
    assert finding.examples == ('clip_003',)


def test_far_away(write, clips):
    clips[3].body[0, 2, 5, 0] = 15.0
    finding = only(examine(write(clips)))
    assert (finding.check, finding.severity) == ('coordinates', 'warning')
    assert '1 frames of a body' in finding.message and finding.examples == ('clip_003',)


def test_far_outside_the_picture(write, clips):
    clips[3].hand[0, 1, 2, 5, 0] = -1.2
    finding = only(examine(write(clips)))
    assert (finding.check, finding.severity) == ('coordinates', 'warning')
    assert 'outside [-1, 2]' in finding.message


@pytest.mark.parametrize('part', ['body', 'hand'])
def test_zeros_that_count_as_visible(write, clips, part):
    getattr(clips[3], part)[..., 2, :, :] = 0
    finding = only(examine(write(clips)))
    assert (finding.check, finding.severity) == ('coordinates', 'error')
    assert 'all zeros, yet visible' in finding.message


def test_joints_at_the_origin(write, clips):
    for clip in clips:  # one joint may be the centre
        clip.body -= clip.body[:, :, :1]
    path = write(clips)
    assert examine(path).findings == []
    clips[3].body[0, 2, 7:9] = 0
    finding = only(examine(write(clips, 'again')))
    assert finding.severity == 'warning' and 'several joints at the origin' in finding.message


@pytest.mark.parametrize('part', ['body', 'hand'])
def test_frozen(write, clips, part):
    values = getattr(clips[3], part)
    values[..., 4:8, :, :] = values[..., 4:5, :, :]  # a pause
    assert examine(write(clips)).findings == []
    values[..., 3:11, :, :] = values[..., 3:4, :, :]
    finding = only(examine(write(clips, 'again')))
    assert (finding.check, finding.severity) == ('frozen', 'warning')
    assert part in finding.message and finding.examples == ('clip_003',)


def test_hands_that_extraction_keeps_are_not_frozen(write, clips):
    """It keeps a hand for five frames while the image around it does not change."""
    for start in (0, 6):
        clips[3].hand[..., start : start + 6, :, :] = clips[3].hand[..., start : start + 1, :, :]
    assert examine(write(clips)).findings == []


def test_missing_frames_are_not_frozen(write, clips):
    clips[3].hand_score[:, :, 1:11] = 0
    assert ('frozen', 'warning') not in found(examine(write(clips)))


@pytest.mark.parametrize(('frames', 'severity'), [(1, 'warning'), (3, 'note')])
def test_short_clips(write, clips, frames, severity):
    clips[3] = make_clip(3, frames=frames)
    finding = only(examine(write(clips)))
    assert (finding.check, finding.severity) == ('length', severity)


def test_nobody_in_a_clip(write, clips):
    clips[3].body_score[:] = 0
    assert found(examine(write(clips))) == {('missing', 'warning'), ('missing', 'note')}
    clips[3].hand_score[:] = 0
    diagnosis = examine(write(clips, 'again'))
    finding = only(replace(diagnosis, findings=diagnosis.of('error')))
    assert finding.check == 'missing' and finding.examples == ('clip_003',)


def test_missing_persons(write, clips):
    clips[3].body_score[0, :4] = 0
    finding = only(examine(write(clips)))
    assert (finding.check, finding.severity) == ('missing', 'note') and '1.4%' in finding.message
    for clip in clips:
        clip.body_score[0, :4] = 0
    finding = only(examine(write(clips, 'again')))
    assert (finding.check, finding.severity) == (
        'missing',
        'warning',
    ) and '33.3%' in finding.message


def test_missing_hands(write, clips):
    clips[3].hand_score[0, 0, :6] = 0
    clips[3].hand_score[0, 1, :3] = 0
    diagnosis = examine(write(clips))
    finding = only(diagnosis)
    assert (finding.check, finding.severity) == ('hands', 'note')
    assert 'left 2.1%, right 1.0%, both 1.0%' in finding.message
    assert diagnosis.classes[3]['missing_left'] == pytest.approx(6 / 72)
    assert diagnosis.classes[2]['missing_left'] == 0
    assert diagnosis.splits[0]['missing_hands'] == pytest.approx(3 / (16 * 12))


def test_most_hands_missing(write, clips):
    for clip in clips:
        clip.hand_score[:, :, :8] = 0
    assert found(examine(write(clips))) == {('hands', 'warning')}


def test_no_hands_at_all(write, clips):
    for clip in clips:
        clip.hand_score[:] = 0
    assert found(examine(write(clips))) == {('hands', 'error')}


def test_a_class_without_hands(write, clips):
    for clip in clips[2::4]:
        clip.hand_score[:] = 0
    diagnosis = examine(write(clips))
    finding = only(replace(diagnosis, findings=diagnosis.of('warning')))
    assert finding.check == 'hands' and finding.examples == ('small',) and finding.count == 1
    assert not diagnosis.of('error')


def test_uneven_hands_between_splits(write, clips):
    for clip in clips[16:]:
        clip.hand_score[:, :, :5] = 0
    finding = examine(write(clips)).of('warning')[0]
    assert 'xsub' in finding.message and '0.0%' in finding.message and '41.7%' in finding.message


@pytest.mark.parametrize('hands', ['metres', 'pixels', 'fractions'])
def test_left_and_right_exchanged(write, hands):
    clips = [make_clip(number, hands=hands) for number in range(24)]
    clips[3].hand = clips[3].hand[:, ::-1]
    finding = only(examine(write(clips)))
    assert (finding.check, finding.severity) == ('sides', 'warning')
    assert finding.examples == ('clip_003',)
    clips = [make_clip(number, hands=hands) for number in range(24)]
    for clip in clips:
        clip.hand = clip.hand[:, ::-1]
    finding = only(examine(write(clips, 'again')))
    assert (finding.check, finding.severity, finding.count) == ('sides', 'error', 24)


def test_sides_are_not_judged_in_other_coordinates(write, clips):
    for clip in clips:
        clip.hand = clip.hand[:, ::-1]
    assert examine(write(clips)).findings == []


def test_hands_away_from_the_skeletons_wrists_are_noted(write):
    """As where a depth sensor lost the arm and the hand was found where the picture shows it."""
    clips = [make_clip(number, hands='fractions') for number in range(24)]
    for clip in clips:
        clip.units = (clip.units[0], 'fraction')
    for clip in clips[:3]:
        wrist = clip.body_pixel[0, :6, WRISTS[0]]  # left, in half of the frames
        wrist += np.array([400, 300])
    finding = only(examine(write(clips)))
    assert (finding.check, finding.severity, finding.count) == ('wrists', 'note', 3)
    share = 3 * 6 / (24 * 12)
    assert f'{share:.1%} of the frames with a hand' in finding.message
