import json

import numpy as np
import pytest
from recognizers import CARD, COCO, FakeRecognizer, SquareEstimator, frame

from bharnet_mm import BodyHandInferencer
from bharnet_mm.datasets import Clip, StoreWriter, empty_hands
from bharnet_mm.errors import BHaRNetError, ConfigError, SourceError


@pytest.fixture
def infer():
    return BodyHandInferencer(FakeRecognizer(), backend=SquareEstimator())


def clip(x=0.9, frames=8, clip_id='c', **fields):
    body = np.full((1, frames, COCO.num_joints, 2), x, np.float32)
    body += np.linspace(0, 0.01, COCO.num_joints, dtype=np.float32)[:, None]
    hand, hand_score = empty_hands(1, frames, 21, 2)
    return Clip(
        clip_id=clip_id,
        label=0,
        body=body,
        body_score=np.ones((1, frames), np.float32),
        hand=hand,
        hand_score=hand_score,
        frame_index=np.arange(frames, dtype=np.int32),
        **fields,
    )


def test_a_short_video_is_one_window(infer):
    (result,) = infer([frame(160)] * 12, fps=10)
    assert (result.start, result.end, result.person) == (0.0, 1.2, 0)
    assert result.label == 'right' and not result.unsure and result.video == 'frames'
    assert result.body.shape == (12, 17, 2) and (result.body_score > 0).all()
    np.testing.assert_allclose(result.body[0].mean(axis=0), [159.5, 59.5], atol=0.1)


def test_windows_of_a_long_video(infer):
    frames = [frame(40)] * 25 + [frame(160)] * 22
    results = list(infer(frames, fps=10))
    spans = [(r.start, r.end) for r in results if r.person == results[0].person]
    assert spans[:2] == [(0.0, 1.0), (0.5, 1.5)]
    assert results[-1].end == 4.7 and results[-1].label == 'right'
    assert results[0].label == 'left'
    assert all(r.end - r.start == pytest.approx(1.0) for r in results)


def test_one_label_a_person(infer):
    results = list(infer([frame(40, 160)] * 10, fps=10))
    assert {(r.person, r.label) for r in results} == {(0, 'left'), (1, 'right')}
    together = BodyHandInferencer(FakeRecognizer(), backend=SquareEstimator(), per_person=False)
    (result,) = together([frame(40, 160)] * 10, fps=10)
    assert result.person is None


def test_nobody(infer):
    (result,) = infer([frame()] * 5)
    assert result.unsure and result.reason == 'nobody is seen' and result.person is None
    assert not (result.body_score > 0).any()


def test_results_come_as_the_video_goes(infer):
    served = []

    def frames():
        for number in range(10_000):
            served.append(number)
            yield frame(160)

    from bharnet_mm.apis.sources import Video

    endless = Video('stream', 10.0, 0, frames, again=False)
    first = next(infer._video(endless, lambda *_: None))
    assert first.label == 'right' and len(served) == 10


def test_calibration_and_threshold():
    sharp = BodyHandInferencer(FakeRecognizer(), backend=SquareEstimator())
    (result,) = sharp([frame(112)] * 5)
    x = (111.5 - 10) / 200  # of the first joint
    z = np.array([0, 20 * (0.5 - x), 20 * (x - 0.5)]) / CARD.temperature
    expected = np.exp(z) / np.exp(z).sum()
    found = {label.name: label.probability for label in result.labels}
    np.testing.assert_allclose([found[c] for c in CARD.classes], expected, rtol=1e-4)
    assert result.unsure and 'below 0.500' in result.reason and result.label == 'unsure'
    assert result.experts['hand'] == () and len(result.experts['body']) == 3


def test_clips_and_stores(infer, tmp_path):
    (result,) = infer(clip(0.1, fps=4.0))
    assert result.label == 'left' and (result.start, result.end) == (0.0, 2.0)
    path = tmp_path / 'store'
    with StoreWriter(
        path,
        name='s',
        body_layout='coco',
        hand_layout='hand',
        body_channels=('x', 'y'),
        hand_channels=('x', 'y'),
        classes=['a'],
    ) as writer:
        for i, x in enumerate((0.1, 0.9, 0.1)):
            writer.add(clip(x, clip_id=f'clip {i}'))
    assert [r.label for r in infer(path)] == ['left', 'right', 'left']
    assert [r.video for r in infer([str(path), clip()])][-1] == 'c'


def test_other_layouts(infer):
    wrong = BodyHandInferencer(
        FakeRecognizer(CARD.__class__(**{**CARD.__dict__, 'body_layout': 'kinect_v2'})),
        backend=SquareEstimator(),
    )
    with pytest.raises(ConfigError, match='spine_base.*trained on'):
        list(wrong([frame(40)] * 3))


@pytest.mark.parametrize(
    'source, message',
    [
        ('no_such.mp4', 'no such file'),
        ('*.no_such', 'no video that matches'),
        (np.zeros((4, 4), np.uint8), 'source'),
        ([np.zeros((4, 4), np.uint8)], 'source'),
        (np.zeros((1, 4, 4, 3), np.float32), 'float32'),
        ([], None),
        (object(), 'source'),
        (99, 'camera 99'),
    ],
)
def test_wrong_sources(infer, source, message):
    if message is None:
        assert list(infer(source)) == []
        return
    with pytest.raises((ConfigError, SourceError), match=message):
        list(infer(source))


def test_wrong_arguments():
    for wrong in (dict(window=0), dict(stride=-1), dict(top_k=0), dict(batch_size=0)):
        with pytest.raises(ConfigError):
            BodyHandInferencer(FakeRecognizer(), **wrong)
    with pytest.raises(BHaRNetError, match='no model of this name'):
        BodyHandInferencer('bharnet_lite_asl10')


def test_save_and_plot(infer, tmp_path):
    results = list(infer(np.stack([frame(160)] * 12), fps=10))
    picture = results[0].plot(frame(160))
    assert picture.shape == (120, 200, 3) and (picture != frame(160)).any()
    with pytest.raises(ConfigError, match='frame 99'):
        results[0].plot(frame(160), 99)
    results[0].save(video=tmp_path / 'out.mp4', json=tmp_path / 'out.json')
    content = json.loads((tmp_path / 'out.json').read_text())['results'][0]
    assert content['label'] == 'right' and content['last_frame'] == 11
    assert content['experts']['hand'] == [] and content['visible']['body'] == 1.0
    from bharnet_mm.datasets.video import open_video

    info, frames = open_video(tmp_path / 'out.mp4', 'pyav')
    shown = list(frames)
    assert len(shown) == 12 and info.fps == pytest.approx(10)
    assert np.abs(shown[0].astype(int) - frame(160)).max() > 100  # something is drawn
    with pytest.raises(ConfigError, match='ending'):
        results[0].save(video=tmp_path / 'out.gif')


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('fused', np.zeros((1, 2))),
        ('fused', np.zeros((2, 3))),
        ('fused', np.zeros((1, 3, 3))),
        ('fused', np.float32(0)),
        ('body', np.zeros((1, 4))),
        ('hand', np.zeros(3)),
    ],
)
def test_scores_of_another_shape_are_refused(name, value):
    """Such as those of an exported graph that was changed."""

    class Other(FakeRecognizer):
        def scores(self, clips):
            return super().scores(clips) | {name: value}

    with pytest.raises(ConfigError, match=f'{name} scores of shape'):
        Other().predict([clip()])
