import sys
import types

import numpy as np
import pytest

from bharnet_mm.datasets.extraction.estimators import LEFT, RIGHT, Arm, build_estimator
from bharnet_mm.datasets.extraction.extract import extract_clip
from bharnet_mm.errors import ConfigError

BODY = np.random.default_rng(0).uniform(20, 60, size=(133, 2))
BODY[9], BODY[10] = (60, 50), (20, 50)  # COCO: left and right wrist
BODY[91:112] += BODY[9] - BODY[91]  # COCO-WholeBody: hands of 21, wrist first
BODY[112:133] += BODY[10] - BODY[112]


@pytest.fixture
def rtmlib(monkeypatch, tmp_path):
    """rtmlib and onnxruntime as far as they are used: two persons, the second 90 pixels to the
    right.
    """

    class Model:
        def __init__(self, path, model_input_size, backend):
            self.path, self.size = path, model_input_size

    class YOLOX(Model):
        def __call__(self, image):
            self.image = image
            return [] if image.max() == 0 else [[0, 0, 1, 1], [1, 1, 2, 2]]

    class RTMPose(Model):
        def __call__(self, image, bboxes):
            scores = np.full((2, 133), 0.7)
            scores[0, 3] = 1.2  # SimCC confidences may pass 1
            scores[1, 112:] = 0.1
            return np.stack([BODY, BODY + [90, 0]]), scores

    class Session:
        def __init__(self, path, providers):
            shape = ['batch', 3, 640, 640] if 'yolox' in path else ['batch', 3, 384, 288]
            self.inputs = [types.SimpleNamespace(shape=shape)]

        def get_inputs(self):
            return self.inputs

    fake = types.ModuleType('rtmlib')
    fake.YOLOX, fake.RTMPose = YOLOX, RTMPose
    runtime = types.ModuleType('onnxruntime')
    runtime.InferenceSession = Session
    monkeypatch.setitem(sys.modules, 'rtmlib', fake)
    monkeypatch.setitem(sys.modules, 'onnxruntime', runtime)
    (tmp_path / 'yolox_m.onnx').touch()
    (tmp_path / 'rtmw-x').mkdir()
    (tmp_path / 'rtmw-x' / 'end2end.onnx').touch()
    return tmp_path


def test_whole_bodies_become_bodies_and_hands(rtmlib):
    estimator = build_estimator('rtmlib', rtmlib)
    assert estimator._pose.size == (288, 384) and estimator._pose.path.endswith('end2end.onnx')
    image = np.zeros((120, 200, 3), np.uint8)
    image[..., 0] = 9
    first, second = estimator.bodies(image)
    np.testing.assert_array_equal(first.points, BODY[:17])
    assert first.joint_score.max() == 1.0
    np.testing.assert_array_equal(estimator._detector.image[0, 0], [0, 0, 9])  # BGR
    hands = estimator.hands(image, [])
    assert [hand.right for hand in hands] == [0.0, 1.0, 0.0]  # one is below min_score
    np.testing.assert_array_equal(hands[1].points, BODY[112:133])
    assert estimator.hands(image, [], taken=hands) == []
    assert estimator.bodies(image * 0) == [] and estimator.hands(image * 0, []) == []


def test_clips_of_two_persons(rtmlib):
    image = np.full((120, 200, 3), 9, np.uint8)
    frames = [image.copy() for _ in range(3)]
    clip = extract_clip(frames, build_estimator('rtmlib', rtmlib), 'a')
    clip.validate('coco')
    assert clip.num_persons == 2
    left = int(np.argmin(clip.body_pixel[:, 0, 9, 0]))
    expected = BODY[91:112] / [200, 120]
    np.testing.assert_allclose(clip.hand[left, LEFT, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(clip.hand[1 - left, LEFT, 0], expected + [90 / 200, 0], rtol=1e-6)
    assert (clip.hand_score[left] > 0).all()
    assert (clip.hand_score[1 - left, RIGHT] == 0).all()


def test_hands_alone(rtmlib):
    arms = [Arm(np.array([150.0, 50.0]), np.array([150.0, 90.0]), 40.0, side=LEFT)]
    hands = build_estimator('rtmlib', rtmlib).hands(np.full((120, 200, 3), 9, np.uint8), arms)
    assert len(hands) == 3  # which arm they hang on is decided elsewhere


def test_missing_models(tmp_path):
    with pytest.raises(ConfigError, match='--models DIR'):
        build_estimator('rtmlib')
    with pytest.raises(ConfigError, match='0 detectors and 0 pose models'):
        build_estimator('rtmlib', tmp_path)


def test_missing_package(rtmlib, monkeypatch):
    monkeypatch.setitem(sys.modules, 'rtmlib', None)
    with pytest.raises(ConfigError, match='pip install rtmlib'):
        build_estimator('rtmlib', rtmlib)
