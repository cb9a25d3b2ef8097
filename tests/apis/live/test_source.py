import time

import cv2
import numpy as np
import pytest
from stream_server import StreamServer

from bharnet_mm.apis.live.source import LiveSource
from bharnet_mm.errors import SourceError


@pytest.fixture
def video(tmp_path):
    """A video of 30 frames at 30 Hz; frame n is grey of level 8 n, its left half 0."""
    path = tmp_path / 'video.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 30, (64, 48))
    for number in range(30):
        picture = np.full((48, 64, 3), 8 * number, np.uint8)
        picture[:, :32] = 0
        writer.write(picture)
    writer.release()
    return path


def read_all(source, delay=0.0):
    frames = []
    while True:
        frame = source.latest(timeout=2)
        if frame is None:
            assert source.ended
            return frames
        frames.append(frame)
        time.sleep(delay)


def test_a_file_is_played_at_its_own_pace_to_its_end(video):
    start = time.monotonic()
    with LiveSource(video) as source:
        frames = read_all(source)
    assert time.monotonic() - start > 0.9
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 29
    assert len(frames) + source.dropped == 30
    for frame in frames:
        assert frame.position == pytest.approx(frame.number / 30, abs=0.002)
        assert abs(int(frame.image[24, 48, 0]) - 8 * frame.number) < 4


def test_a_slow_reader_gets_new_frames_and_the_rest_is_counted(video):
    with LiveSource(video) as source:
        frames = read_all(source, delay=0.2)
    assert len(frames) <= 7
    assert len(frames) + source.dropped == 30
    gaps = np.diff([frame.number for frame in frames])
    assert gaps.max() > 3


def test_mirror_exchanges_left_and_right(video):
    with LiveSource(video, mirror=True) as source:
        last = read_all(source)[-1]
    assert last.image[24, 8, 0] > 200 and last.image[24, 56, 0] < 20


@pytest.mark.parametrize('source', ['missing.mp4', 99, 'rtsp://127.0.0.1:9/stream'])
def test_a_source_that_does_not_open_is_named(source, capfd):
    with pytest.raises(SourceError, match=str(source)):
        LiveSource(source)
    assert capfd.readouterr().err == ''  # nothing of OpenCV's


def test_a_file_that_is_no_video(tmp_path):
    path = tmp_path / 'text.mp4'
    path.write_text('not a video')
    with pytest.raises(SourceError, match='cannot be read as video'):
        LiveSource(path)


def test_a_stream_goes_away_and_comes_back():
    server = StreamServer()
    server.start()
    with LiveSource(server.url, retry=0.2) as source:
        first = source.latest(timeout=5)
        assert first is not None and first.image.shape == (48, 64, 3)
        server.stop()
        limit = time.monotonic() + 10
        while source.connected and time.monotonic() < limit:
            source.latest(timeout=0.1)
        assert not source.connected and not source.ended
        server.start()
        while not source.connected and time.monotonic() < limit:
            time.sleep(0.05)
        later = source.latest(timeout=5)
        assert later is not None and later.number > first.number and later.time > first.time
    server.stop()
