import json
import sys

import numpy as np
import pytest
from command import run

from bharnet_mm.datasets import ClipStore
from bharnet_mm.errors import ConfigError
from bharnet_mm.runtime import ExportedRecognizer, OnnxRecognizer
from bharnet_mm.runtime.recognizer import INPUTS_KEY, build_pipeline

pytest.importorskip('onnxruntime')

#: Predicts the clips of a store where nothing but numpy and onnxruntime can be imported.
ALONE = """
import sys
BLOCKED = ('torch', 'mmaction', 'mmengine', 'mmcv', 'cv2', 'scipy', 'decord', 'av', 'matplotlib')

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in BLOCKED:
            raise ImportError(f'{name} is blocked')

sys.meta_path.insert(0, Blocked())
from bharnet_mm.datasets import ClipStore
from bharnet_mm.runtime import OnnxRecognizer
model = OnnxRecognizer(sys.argv[1], threads=1)
store = ClipStore(sys.argv[2])
for prediction in model.predict([store[i] for i in range(3)]):
    print(prediction.label, prediction.labels[0].probability, sep='\t')
assert not [name for name in sys.modules if name.split('.')[0] in BLOCKED]
"""


def test_it_needs_numpy_and_onnxruntime_only(exported):
    folder, _ = exported
    printed = run(sys.executable, '-c', ALONE, folder / 'm.onnx', folder / 'store')
    store, model = ClipStore(folder / 'store'), OnnxRecognizer(folder / 'm.onnx')
    expected = [
        (p.label, p.labels[0].probability) for p in model.predict([store[i] for i in range(3)])
    ]
    found = [line.split('\t') for line in printed.splitlines()]
    assert [label for label, _ in found] == [label for label, _ in expected]
    np.testing.assert_allclose([float(p) for _, p in found], [p for _, p in expected], atol=1e-6)


def test_an_expert_that_sees_nothing_says_nothing(exported):
    folder, _ = exported
    clip = ClipStore(folder / 'store')[0]
    clip.hand_score = np.zeros_like(clip.hand_score)
    (prediction,) = OnnxRecognizer(folder / 'm.onnx').predict([clip])
    assert prediction.experts['hand'] == () and prediction.experts['body']


def test_frames_that_are_not_numbers_are_missing(exported):
    folder, _ = exported
    model, clip = OnnxRecognizer(folder / 'm.onnx'), ClipStore(folder / 'store')[0]
    hidden, damaged = clip.body_score.copy(), clip.body.copy()
    hidden[:, 3:6], damaged[:, 3:6] = 0, np.nan
    score, clip.body_score = clip.body_score, hidden
    expected = model.scores([clip])
    clip.body_score, clip.body = score, damaged
    for name, value in model.scores([clip]).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6)


def test_files_without_a_card_are_refused(tmp_path):
    with pytest.raises(ConfigError, match='no such file'):
        OnnxRecognizer(tmp_path / 'none.onnx')
    (tmp_path / 'not.onnx').write_bytes(b'not a model')
    with pytest.raises(ConfigError, match='can open'):
        OnnxRecognizer(tmp_path / 'not.onnx')
    for meta in ({}, {INPUTS_KEY: json.dumps({})}):
        with pytest.raises(ConfigError, match='no model card'):
            ExportedRecognizer('m.onnx', meta)


@pytest.mark.parametrize('step', [dict(type='Resize'), dict(type='SampleWindow', frames=3), {}])
def test_pipelines_of_other_steps_are_refused(step):
    with pytest.raises(ConfigError, match='pipeline of an exported model'):
        build_pipeline([step])


def test_pictures_are_given_or_read_from_their_place():
    steps = [dict(type='mmaction.CutRegions', cell=24), dict(type='PackBodyHand')]
    (step,) = build_pipeline(steps)
    assert step.given and step.grid.cell == 24
    with pytest.raises(ConfigError, match='a folder that exists'):
        build_pipeline(steps, data_root='no/such/folder')
