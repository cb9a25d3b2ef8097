import numpy as np
import pytest
from fake_estimator import write_video

from bharnet_mm.datasets.video import VideoFolder, available_readers, open_video, read_frames
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

    monkeypatch.setattr('bharnet_mm.datasets.video._pick_decord', breaks)
    monkeypatch.setattr('bharnet_mm.datasets.video._pick_pyav', whole)
    numbers = [n for n, _ in read_frames(tmp_path / 'a.avi', [5, 1, 2], ['decord', 'pyav'])]
    assert numbers == [1, 2, 5] and given == [('first', [1, 2, 5]), ('second', [2, 5])]


def test_no_reader_at_all(tmp_path):
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
