import os

import numpy as np
import pytest
from everyday import damage, encode, trim
from videos import write_video

from bharnet_mm.datasets.video import (
    VideoFolder,
    available_readers,
    list_videos,
    open_video,
    read_frames,
)
from bharnet_mm.datasets.video_readers import PICK, VideoInfo
from bharnet_mm.errors import ConfigError, SourceError

READERS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name not in available_readers(), reason=f'{name} is not installed'
        ),
    )
    for name in ('decord', 'pyav')
]


@pytest.mark.parametrize('reader', READERS)
def test_frames_come_once_and_in_order(tmp_path, reader):
    path = tmp_path / 'a.avi'
    write_video(path, [np.full((64, 96, 3), 10 * i, np.uint8) for i in range(20)])
    info, frames = open_video(path, reader)
    frames = list(frames)
    assert info.frames == 20 and info.fps == pytest.approx(25)
    assert all(frame.shape == (64, 96, 3) and frame.dtype == np.uint8 for frame in frames)
    np.testing.assert_allclose([frame.mean() for frame in frames], 10 * np.arange(20), atol=3)


@pytest.mark.parametrize('reader', READERS)
def test_channels_are_red_green_blue(tmp_path, reader):
    image = np.zeros((64, 96, 3), np.uint8)
    image[..., 0] = 255
    write_video(tmp_path / 'a.avi', [image] * 3)
    frame = next(iter(open_video(tmp_path / 'a.avi', reader)[1]))
    assert frame[..., 0].mean() > 200 > 60 > frame[..., 2].mean()


@pytest.mark.parametrize('reader', READERS)
def test_what_is_no_video_is_an_error_of_ours(tmp_path, reader):
    (tmp_path / 'bad.mp4').write_bytes(b'not a video' * 1000)
    with pytest.raises(SourceError, match='bad.mp4'):
        list(open_video(tmp_path / 'bad.mp4', reader)[1])
    with pytest.raises(SourceError, match='no such file'):
        open_video(tmp_path / 'none.mp4', reader)


@pytest.mark.parametrize('reader', READERS)
def test_a_file_cut_off_ends(tmp_path, reader):
    write_video(tmp_path / 'a.avi', [np.full((64, 96, 3), 9 * i, np.uint8) for i in range(25)])
    whole = (tmp_path / 'a.avi').read_bytes()
    (tmp_path / 'cut.avi').write_bytes(whole[: len(whole) // 2])
    try:
        num = len(list(open_video(tmp_path / 'cut.avi', reader)[1]))
    except SourceError:
        return
    assert 0 < num < 25


def test_a_header_that_announces_billions_of_frames(tmp_path):
    """decord 0.6.0 makes a table of them, and ends the process where memory is short."""
    path = tmp_path / 'a.avi'
    write_video(path, [np.full((32, 48, 3), 40 * i, np.uint8) for i in range(6)])
    content = bytearray(path.read_bytes())
    place = content.find(b'strh') + 8 + 32  # dwLength
    assert content[place : place + 4] == (6).to_bytes(4, 'little')
    content[place : place + 4] = (2**32 - 2).to_bytes(4, 'little')
    path.write_bytes(content)
    with pytest.raises(SourceError, match='announces|counts'):
        open_video(path, 'decord')
    info, frames = open_video(path)
    assert len(list(frames)) == 6 and frames.reader == 'pyav'
    assert [number for number, _ in read_frames(path, [1, 4])] == [1, 4]


@pytest.mark.parametrize('reader', READERS)
def test_a_file_that_was_cut_off(tmp_path, reader):
    path = tmp_path / 'a.avi'
    images = [np.full((32, 48, 3), 2 * i, np.uint8) for i in range(100)]
    write_video(path, images)
    info, frames = open_video(path, reader)
    assert info.announced == 100 == len(list(frames)) and not info.is_cut_off_at(100)
    os.truncate(path, path.stat().st_size // 2)
    assert open_video(path, reader)[0].announced == 100
    info, frames = open_video(path)  # if one reader ends at the cut, the next one continues
    count = len(list(frames))
    assert frames.info.announced == 100 and 20 < count < 70 and info.is_cut_off_at(count)
    assert not info.is_cut_off_at(95) and info.is_cut_off_at(94)
    assert not VideoInfo(100, 25.0).is_cut_off_at(1)  # nothing is announced


def test_unknown_reader(tmp_path):
    with pytest.raises(ConfigError, match='decord'):
        open_video(tmp_path / 'a.avi', 'vhs')


@pytest.mark.parametrize('reader', READERS)
def test_picked_frames_are_those_of_a_whole_reading(tmp_path, reader):
    path = tmp_path / 'a.avi'
    rng = np.random.default_rng(0)
    write_video(path, rng.integers(0, 255, (20, 64, 96, 3), np.uint8))
    whole = list(open_video(path, reader)[1])
    picked = list(read_frames(path, [19, 3, 3, 0, 11], [reader]))
    assert [number for number, _ in picked] == [0, 3, 11, 19]
    for number, image in picked:
        np.testing.assert_array_equal(image, whole[number])


@pytest.mark.parametrize('reader', READERS)
def test_picking_says_what_is_wrong(tmp_path, reader):
    write_video(tmp_path / 'a.avi', [np.zeros((64, 96, 3), np.uint8)] * 5)
    with pytest.raises(SourceError, match=r'a\.avi: found 5 frames; expected at least 9'):
        list(read_frames(tmp_path / 'a.avi', [1, 8], [reader]))
    (tmp_path / 'bad.mp4').write_bytes(b'not a video' * 1000)
    with pytest.raises(SourceError, match='bad.mp4'):
        list(read_frames(tmp_path / 'bad.mp4', [0], [reader]))
    with pytest.raises(SourceError, match='no such file'):
        list(read_frames(tmp_path / 'none.mp4', [0], [reader]))


def test_the_next_reader_takes_over_where_one_breaks_off(tmp_path, monkeypatch):
    write_video(tmp_path / 'a.avi', [np.full((64, 96, 3), 10 * i, np.uint8) for i in range(6)])
    given = []

    def breaks(path, numbers):
        given.append(('first', list(numbers)))
        yield numbers[0], 'picture'
        raise SourceError(path, 'an end')

    def whole(path, numbers):
        given.append(('second', list(numbers)))
        yield from ((number, 'picture') for number in numbers)

    monkeypatch.setitem(PICK, 'decord', breaks)
    monkeypatch.setitem(PICK, 'pyav', whole)
    numbers = [n for n, _ in read_frames(tmp_path / 'a.avi', [5, 1, 2], ['decord', 'pyav'])]
    assert numbers == [1, 2, 5] and given == [('first', [1, 2, 5]), ('second', [2, 5])]


def test_no_reader_at_all(tmp_path):
    write_video(tmp_path / 'a.avi', [np.zeros((64, 96, 3), np.uint8)] * 2)
    with pytest.raises(ConfigError, match='pip install decord'):
        list(read_frames(tmp_path / 'a.avi', [0], []))


def test_videos_are_found_at_their_place_then_by_name(tmp_path):
    for name in ('a/one.avi', 'b/one.avi', 'b/two.mp4', 'three.avi'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    videos = VideoFolder(tmp_path)
    assert videos.find('a/one.avi') == ['a/one.avi']
    assert videos.find('elsewhere/two.mp4') == ['b/two.mp4']
    assert videos.find('two.avi') == ['b/two.mp4']
    assert videos.find('one.avi') == ['a/one.avi', 'b/one.avi']
    assert videos.find('', 'b/two') == ['b/two.mp4'] and videos.find('', 'three') == ['three.avi']
    assert videos.find('four.avi') == []
    with pytest.raises(SourceError, match='no folder'):
        VideoFolder(tmp_path / 'none').find('a.avi')


# Videos as people have them: cut without encoding anew, of a variable frame rate, damaged.


def moving_square(num=48):
    frames = np.zeros((num, 64, 96, 3), np.uint8)
    for t, frame in enumerate(frames):
        frame[10:30, t : t + 20] = 255 - 2 * t
        frame[40:60, 70 - t : 90 - t, 0] = 200
    return list(frames)


@pytest.fixture(scope='module')
def everyday_videos(tmp_path_factory):
    """Name to (path, numbers of the source's frames in it)."""
    pytest.importorskip('av')
    folder = tmp_path_factory.mktemp('everyday')
    frames = moving_square()
    encode(folder / 'whole.mp4', frames)
    for name, start, stop in (('one', 20, 10**9), ('two', 30, 10**9), ('three', 10, 36)):
        trim(folder / 'whole.mp4', folder / f'trimmed_{name}.mp4', start, stop)
    some = [*range(12), *range(12, 48, 3)]
    encode(folder / 'variable.mp4', [frames[i] for i in some], times=some)
    few = [*range(0, 30, 5), *range(30, 48)]
    encode(folder / 'variable.mkv', [frames[i] for i in few], times=few)
    damage(folder / 'whole.mp4', folder / 'damaged.mp4')
    return folder


EVERYDAY = (
    'whole.mp4 trimmed_one.mp4 trimmed_two.mp4 trimmed_three.mp4 variable.mp4 variable.mkv '
    'damaged.mp4'
).split()


@pytest.mark.parametrize('name', EVERYDAY)
def test_both_readers_give_the_same_frames(everyday_videos, name):
    path = everyday_videos / name
    _, first = open_video(path)  # decord where it is installed, checked
    first = [(first.number, image, first) for image in first]
    _, second = open_video(path, 'pyav')
    second = [(second.number, image, second) for image in second]
    assert [n for n, _, _ in first] == [n for n, _, _ in second]
    for (_, a, _), (_, b, _) in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first[0][2].lost == second[0][2].lost
    for (number, image), (n, b, _) in zip(
        read_frames(path, [n for n, _, _ in first][::5]), second[::5], strict=True
    ):
        assert number == n
        np.testing.assert_array_equal(image, b)


@pytest.mark.parametrize(
    ('name', 'start', 'num'),
    [('trimmed_one.mp4', 20, 28), ('trimmed_two.mp4', 30, 18), ('trimmed_three.mp4', 10, None)],
)
def test_a_trimmed_video_has_the_frames_that_it_shows(everyday_videos, name, start, num):
    """decord counts the frames before the cut as well and repeats the last picture for them."""
    info, frames = open_video(everyday_videos / name)
    pictures = list(frames)
    assert num is None or len(pictures) == num
    assert frames.lost == info.frames - len(pictures) > 0
    for t, picture in enumerate(pictures):
        assert np.abs(picture.astype(int) - moving_square()[start + t]).mean() < 12
    with pytest.raises(SourceError, match=f'{len(pictures)} frames'):
        list(read_frames(everyday_videos / name, [len(pictures)]))


def test_a_damaged_video_keeps_the_numbers_of_the_frames_that_it_has(everyday_videos):
    info, frames = open_video(everyday_videos / 'damaged.mp4')
    numbers = [frames.number for _ in frames]
    assert info.frames == 48 and frames.lost == 48 - len(numbers)
    assert numbers == sorted(set(numbers)) and numbers[-1] == 47


@pytest.mark.skipif('decord' not in available_readers(), reason='decord is not installed')
def test_a_repeated_picture_is_no_frame_where_nothing_can_check(everyday_videos, monkeypatch):
    for module in ('video', 'video_readers'):
        monkeypatch.setattr(f'bharnet_mm.datasets.{module}.available_readers', lambda: ['decord'])
    _, frames = open_video(everyday_videos / 'trimmed_one.mp4')
    assert len(list(frames)) == 28 and frames.lost == 20


def test_a_scene_that_stands_still_is_kept(tmp_path):
    write_video(tmp_path / 'a.avi', [np.full((64, 96, 3), 90, np.uint8)] * 12)
    _, frames = open_video(tmp_path / 'a.avi')
    assert len(list(frames)) == 12 and frames.lost == 0
    assert len(list(read_frames(tmp_path / 'a.avi', [0, 5, 11]))) == 3


def test_all_kinds_that_a_reader_opens_are_listed_and_the_rest_is_named(tmp_path):
    pytest.importorskip('av')
    frames = moving_square(6)
    for name in ('a.mp4', 'b.ts', 'd.flv', 'e.3gp', 'f.m4v', 'g.MKV'):
        encode(tmp_path / name, frames)
    write_gif(tmp_path / 'c.gif', frames)
    for name in ('readme.txt', '._a.mp4', '.hidden/x.mp4', '__MACOSX/a.mp4'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'x')
    others = []
    names = list_videos(tmp_path, others)
    assert names == ['a.mp4', 'b.ts', 'c.gif', 'd.flv', 'e.3gp', 'f.m4v', 'g.MKV']
    assert others == ['readme.txt']
    for name in names:
        assert len(list(open_video(tmp_path / name)[1])) == 6


def write_gif(path, frames):
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)


def test_both_unicode_forms_of_a_name_are_one(tmp_path):
    composed, apart = 'caf\u00e9', 'cafe\u0301'
    (tmp_path / apart).mkdir()
    (tmp_path / apart / f'{apart}.mp4').write_bytes(b'')
    videos = VideoFolder(tmp_path)
    assert videos.find(f'{composed}/{composed}.mp4') == [f'{apart}/{apart}.mp4']
    assert videos.find(f'{composed}.avi') == [f'{apart}/{apart}.mp4']
