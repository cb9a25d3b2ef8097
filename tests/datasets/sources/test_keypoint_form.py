"""Depth, confidence or neither: what the channels of keypoints are is never guessed."""

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest

from bharnet_mm.apis.doctor.examine import examine
from bharnet_mm.datasets import ClipStore
from bharnet_mm.datasets.sources.keypoint_form import form_of
from bharnet_mm.errors import ConfigError


def annotation(joints=17, third=None, scale=300.0, seed=0, **more):
    random = np.random.default_rng(seed)
    xy = random.uniform(0.1, 0.9, (1, 6, joints, 2)) * scale
    channels = [xy] if third is None else [xy, third(random, (1, 6, joints, 1))]
    keypoint = np.concatenate(channels, axis=-1).astype(np.float32)
    return dict(frame_dir=f'{seed}', label=0, img_shape=(480, 640), keypoint=keypoint) | more


def confidence(random, shape):
    return random.uniform(0, 1, shape)


def depth(random, shape):
    return random.normal(3, 1, shape)


def constant(value):
    return lambda random, shape: np.full(shape, value)


@pytest.mark.parametrize(
    ('rows', 'channels', 'unit'),
    [
        (dict(), 'xy', 'pixel'),
        (dict(scale=1.0), 'xy', 'fraction'),
        (dict(third=confidence), 'xyc', 'pixel'),
        (dict(third=constant(1.0)), 'xyc', 'pixel'),
        (dict(third=confidence, joints=25), 'xyc', 'pixel'),
        (dict(third=depth, joints=25, scale=1.0), 'xyz', ''),
    ],
)
def test_what_the_values_say(rows, channels, unit):
    form = form_of([annotation(**rows)])
    assert (form.channels, form.unit) == (channels, unit)


@pytest.mark.parametrize(
    'rows',
    [
        dict(third=depth),  # three dimensions of a layout that has two
        dict(third=confidence, scale=1.0),  # fractions with a confidence, or with a depth
        dict(third=constant(0.0)),
        dict(third=constant(0.7), joints=25, scale=1.0),
    ],
)
def test_what_is_not_clear_is_asked_for(rows):
    with pytest.raises(ConfigError, match='--channels xyc'):
        form_of([annotation(**rows)])
    assert form_of([annotation(**rows)], channels='xyz').channels == 'xyz'


def test_a_confidence_becomes_the_score_and_fractions_get_pixels(tmp_path):
    path = Path(__file__).parents[3] / 'tools' / 'data' / 'pyskl.py'
    spec = importlib.util.spec_from_file_location('tool_pyskl', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    row = annotation(third=confidence)
    row['keypoint'][0, 2, 5] = 0
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps([row]))
    assert module.command([str(tmp_path / 'a.pkl'), str(tmp_path / 'out')]) == 0
    store = ClipStore(tmp_path / 'out')
    clip = store[0]
    assert store.channels['body'] == ('x', 'y') and clip.body_joint_score[0, 2, 5] == 0
    np.testing.assert_allclose(clip.body_joint_score[0, 0], row['keypoint'][0, 0, :, 2], atol=1e-3)
    fractions = annotation(scale=1.0)
    (tmp_path / 'b.pkl').write_bytes(pickle.dumps([fractions]))
    assert module.command([str(tmp_path / 'b.pkl'), str(tmp_path / 'b')]) == 0
    clip = ClipStore(tmp_path / 'b')[0]
    assert clip.units[0] == 'fraction'
    np.testing.assert_allclose(clip.body_pixel, clip.body * (640, 480), rtol=1e-6)
    (tmp_path / 'c.pkl').write_bytes(pickle.dumps([annotation(third=depth)]))
    with pytest.raises(ConfigError, match='with joints of .coco.'):
        module.command([str(tmp_path / 'c.pkl'), str(tmp_path / 'c')])
    found = examine(tmp_path / 'c.pkl').findings
    assert any(f.check == 'channels' and f.severity == 'error' for f in found)
