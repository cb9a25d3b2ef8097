import json
import os
import signal

import av
import numpy as np
import pytest
from recognizers import FakeRecognizer, SquareEstimator, frame

from bharnet_mm import cli
from bharnet_mm.apis import inferencer
from bharnet_mm.apis.annotate import VideoWriter


@pytest.fixture
def video(tmp_path):
    """Six seconds at ten frames a second, a person who stays in the left half."""
    path = tmp_path / 'walk.mp4'
    with VideoWriter(path, 10) as writer:
        for x in np.linspace(20, 80, 60):
            writer.write(frame(int(x)))
    return path


@pytest.fixture
def stop_at(monkeypatch):
    """Has the command get a signal, or an error, after so many frames, with a model that needs no
    training."""
    # A process that a script starts in the background is told to ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop(frames, what):
        class Inferencer(inferencer.BodyHandInferencer):
            def __init__(self, model, checkpoint=None, **options):
                options |= dict(backend=SquareEstimator(), window=1.0, stride=1.0)
                super().__init__(FakeRecognizer(), **options)

            def __call__(self, source, *, fps=None, tick=None):
                def told(name, done, total):
                    if done == frames and isinstance(what, int):
                        os.kill(os.getpid(), what)
                    elif done == frames:
                        raise what

                return super().__call__(source, tick=told)

        monkeypatch.setattr(inferencer, 'BodyHandInferencer', Inferencer)

    yield stop
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    'what, status',
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (OSError(28, 'No space left on device'), 1)],
    ids=['ctrl-c', 'sigterm', 'disk'],
)
def test_answers_so_far_are_kept(video, tmp_path, stop_at, capfd, what, status):
    stop_at(35, what)
    answers, drawn = tmp_path / 'answers.json', tmp_path / 'drawn.mp4'
    with pytest.raises(SystemExit) as ended:
        cli.main(['predict', str(video), '--json', str(answers), '--out', str(drawn)])
    assert ended.value.code == status
    content = json.loads(answers.read_text())
    assert content['complete'] is False
    assert [(r['first_frame'], r['last_frame']) for r in content['results']] == [
        (0, 9), (10, 19), (20, 29)
    ]  # fmt: skip
    with av.open(str(drawn)) as written:
        assert len(list(written.decode(video=0))) == 30
    said = capfd.readouterr().err
    assert f'wrote {answers}: the 3 answers so far, until 3.0 s of {video}' in said
    assert f'wrote {drawn}' in said


def test_nothing_is_written_before_the_first_answer(video, tmp_path, stop_at, capfd):
    stop_at(5, signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        cli.main(['predict', str(video), '--json', str(tmp_path / 'answers.json')])
    assert ended.value.code == 130 and not (tmp_path / 'answers.json').exists()
    assert 'wrote' not in capfd.readouterr().err


def test_a_whole_prediction_does_not_say_that_it_is_not(video, tmp_path, stop_at):
    stop_at(0, signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        cli.main(['predict', str(video), '--json', str(tmp_path / 'answers.json')])
    content = json.loads((tmp_path / 'answers.json').read_text())
    assert ended.value.code == 0 and list(content) == ['model', 'results']
    assert len(content['results']) == 6
