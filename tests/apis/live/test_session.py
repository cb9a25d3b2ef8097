import json
import os
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from fakes import BrightEstimator, Dying, FrameCounter, broken
from stream_server import StreamServer

from bharnet_mm.apis.annotate import VideoWriter
from bharnet_mm.apis.live.command import _show
from bharnet_mm.apis.live.output import JsonLines, VideoOutput, has_display
from bharnet_mm.apis.live.session import LiveSession, LiveStatistics
from bharnet_mm.apis.live.source import Frame, LiveSource
from bharnet_mm.apis.live.window import SlidingWindow, Step
from bharnet_mm.errors import BHaRNetError, ConfigError


def write_grey(path, levels, fps=30):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), fps, (64, 48))
    for level in levels:
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return path


def run(source, build=FrameCounter, estimator=None, **options):
    with LiveSession(
        LiveSource(source), estimator or BrightEstimator(), build, **options
    ) as session:
        return list(session), session.statistics


def test_every_frame_once_and_answers_for_the_last_half_second(tmp_path):
    path = write_grey(tmp_path / 'bright.avi', [128] * 45)
    estimator = BrightEstimator()
    updates, statistics = run(path, estimator=estimator, stride=0.2)
    frames = [update.frame for update in updates if update.frame is not None]
    assert estimator.frames - 1 == len(frames) == statistics.processed  # one to load its models
    assert len(frames) + statistics.dropped == 45
    answers = [update.answer for update in updates if update.answer is not None]
    assert answers
    assert all(0.2 <= answer.end - answer.start <= 0.51 for answer in answers)
    assert answers[-1].end == frames[-1].position
    summary = statistics.summary()
    assert set(summary['cpu_share']) == {'source', 'pose and hands', 'recognition'}
    assert summary['latency_ms']['p99'] >= summary['latency_ms']['p50'] > 0


def test_frames_are_dropped_rather_than_late(tmp_path):
    path = write_grey(tmp_path / 'bright.avi', [128] * 45)
    _, statistics = run(path, estimator=BrightEstimator(seconds=0.15))
    assert statistics.dropped > 20
    # A frame waits for at most the one before it.
    assert max(statistics.latencies) < 0.6


@pytest.mark.parametrize('options', [dict(window=0.0), dict(stride=-1.0)])
def test_seconds_must_be_above_zero(tmp_path, options):
    with pytest.raises(ConfigError, match='seconds above 0'):
        run(write_grey(tmp_path / 'bright.avi', [128] * 3), **options)


def test_nobody_gives_no_answer(tmp_path):
    updates, _ = run(write_grey(tmp_path / 'dark.avi', [0] * 30))
    assert all(update.answer is None and not update.bodies for update in updates)


def test_a_model_that_cannot_be_built_says_why(tmp_path):
    with pytest.raises(BHaRNetError, match='name one'):
        run(write_grey(tmp_path / 'bright.avi', [128] * 30), broken)


def test_a_model_that_dies_is_named(tmp_path):
    with pytest.raises(BHaRNetError, match='ended with status 7'):
        run(write_grey(tmp_path / 'bright.avi', [128] * 60), Dying)


def test_after_an_absence_the_window_is_empty():
    server = StreamServer()
    server.start()
    seen, away = 0, False
    source = LiveSource(server.url, retry=0.2)
    with LiveSession(source, BrightEstimator(), FrameCounter, stride=0.2) as session:
        for update in session:
            if update.frame is None and not source.connected:
                away = True
                assert update.last is None
                if server.running.is_set() is False:
                    server.start()
            elif update.answer is not None:
                seen += 1
                if not away:
                    server.stop()
                else:
                    assert update.answer.start > 0
                    break
    server.stop()
    assert away and seen >= 2


def test_irregular_frames_lie_on_an_even_grid():
    window, estimator = SlidingWindow(1.0), BrightEstimator()
    image = np.full((48, 64, 3), 128, np.uint8)
    positions = [0.0, 0.1, 0.21, 0.3, 0.6, 0.69, 0.8]  # two frames were dropped
    for position in positions:
        window.add(Step(position, position, dict(enumerate(estimator.bodies(image))), {}))
    clip = window.clip((64, 48), estimator)
    assert clip.num_frames == 7
    visible = clip.body_score[0] > 0
    assert visible.sum() in (6, 7)
    assert clip.image_size == (64, 48)
    window.add(Step(1.75, 1.75, {}, {}))
    assert window.start == 0.8 and window.filled == pytest.approx(0.95)


def test_the_video_lasts_as_long_as_the_session(tmp_path):
    path = tmp_path / 'out.mp4'
    picture = np.zeros((48, 64, 3), np.uint8)
    with VideoOutput(path, 30) as video:
        for position in (5.0, 5.1, 5.5, 6.0):
            video.write(picture, position)
    capture = cv2.VideoCapture(str(path))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 31


def test_frames_of_another_size_keep_their_proportions(tmp_path):
    path = tmp_path / 'out.mp4'
    with VideoWriter(path, 30) as video:
        video.write(np.zeros((49, 65, 3), np.uint8))  # an odd row and column are cut off
        video.write(np.full((48, 24, 3), 255, np.uint8))
        video.write(np.full((96, 128, 3), 255, np.uint8))
    capture = cv2.VideoCapture(str(path))
    _, turned, large = (capture.read()[1] for _ in range(3))
    assert turned.shape == large.shape == (48, 64, 3)
    white = turned.mean(axis=(0, 2)) > 128
    assert 22 <= white.sum() <= 26 and not white[:16].any() and not white[-16:].any()
    assert large.mean() > 245


class TurningCamera:
    """Twelve frames of one size, then twelve of another, 20 a second."""

    connected, dropped, cpu_seconds = True, 0, 0.0

    def __init__(self):
        sizes = [(48, 64)] * 12 + [(64, 48)] * 12
        self.images = [np.full((*size, 3), 128, np.uint8) for size in sizes]
        self.count = 0

    @property
    def ended(self):
        return self.count == len(self.images)

    def latest(self, timeout):
        if self.ended:
            return None
        self.count += 1
        time.sleep(0.05)
        return Frame(self.images[self.count - 1], self.count, time.monotonic(), self.count / 20)

    def close(self):
        pass


def test_images_of_another_size_begin_anew():
    """Positions in images of two sizes must not come into one window."""
    asked, starts = [], []
    estimator = BrightEstimator()
    estimator.start = lambda: starts.append(1)
    with LiveSession(TurningCamera(), estimator, FrameCounter, stride=0.01) as session:
        session._recognition.offer = lambda clip, *_: asked.append(clip) or True
        updates = [update for update in session if update.frame is not None]
    sizes = [clip.image_size for clip in asked]
    assert {*sizes} == {(64, 48), (48, 64)} and sizes == sorted(sizes, reverse=True)
    first = sizes.index((48, 64))
    assert asked[first].num_frames < asked[first - 1].num_frames
    assert len(updates) == 24 and updates[12].last is None
    assert len(starts) == 3  # when it was made, before the first frame, and at the turn


def test_json_lines(tmp_path):
    import io

    stream = io.StringIO()
    lines = JsonLines(stream)
    updates, statistics = run(write_grey(tmp_path / 'bright.avi', [128] * 30), stride=0.2)
    for update in updates:
        lines.write(update)
    lines.finish(statistics)
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert rows[0]['to'] > rows[0]['from'] >= 0
    assert 'frames' in json.dumps(rows[0])
    assert rows[-1]['statistics']['frames'] == statistics.processed


def test_a_file_can_be_played_again_and_again(tmp_path):
    path = write_grey(tmp_path / 'bright.avi', [128] * 12)
    positions = []
    with LiveSession(LiveSource(path, loop=True), BrightEstimator(), FrameCounter) as session:
        for update in session:
            if update.frame is not None:
                positions.append(update.frame.position)
            if positions and positions[-1] > 1.0:
                break
    assert positions == sorted(positions)
    assert max(np.diff(positions)) < 0.5
    with pytest.raises(BHaRNetError, match='leave loop out'):
        LiveSource(0, loop=True)


def test_memory_is_noted_every_so_often():
    statistics = LiveStatistics()
    statistics.note_memory([os.getpid()])
    statistics.note_memory([os.getpid()])
    assert len(statistics.memory_mb) == 1
    statistics.note_memory([os.getpid()], every=0.0)
    assert len(statistics.memory_mb) == 2 and statistics.memory_mb[0][1] > 1
    assert statistics.summary()['memory_mb'] == statistics.memory_mb


def test_whether_there_is_a_display_is_read_off_the_environment(monkeypatch):
    monkeypatch.setattr(cv2, 'namedWindow', lambda *_: pytest.fail('a window was opened'))
    monkeypatch.setattr('sys.platform', 'linux')
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    assert not has_display()
    monkeypatch.setenv('DISPLAY', ':0')
    monkeypatch.setattr(cv2, 'getBuildInformation', lambda: '  GUI:        GTK3')
    assert has_display()
    monkeypatch.setattr(cv2, 'getBuildInformation', lambda: '  GUI:        NONE')
    assert not has_display()


def test_pictures_of_the_window_have_the_numbers_of_its_clip():
    window, estimator = SlidingWindow(1.0), BrightEstimator()
    image = np.full((48, 64, 3), 128, np.uint8)
    for level, position in enumerate([0.0, 0.1, 0.2, 0.5, 0.6]):
        bodies = dict(enumerate(estimator.bodies(image)))
        window.add(Step(position, position, bodies, {}, np.full_like(image, level)))
    clip = window.clip((64, 48), estimator)
    shown = clip.frame_index[clip.body_score[0] > 0].tolist()
    assert set(shown) == set(window.images) and window.images[shown[-1]][0, 0, 0] == 4


def test_seconds_do_not_count_the_loading_of_models():
    shown = []
    lines = SimpleNamespace(write=shown.append)
    with LiveSession(TurningCamera(), BrightEstimator(), FrameCounter) as session:
        _show(session, 'coco', None, None, lines, 0.5)
    assert 1 < len(shown) < 24  # starting the model's process takes longer than that
    first, second = (session.statistics.summary()['seconds'] for _ in range(2))
    assert first == second  # ends with the session
