import numpy as np
import pytest
from fake_estimator import write_video

from bharnet_mm.datasets.extraction.video import available_readers, open_video
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
