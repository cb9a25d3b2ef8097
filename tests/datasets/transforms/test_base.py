"""What holds for every transform."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from mmaction.registry import TRANSFORMS

from bharnet_mm.datasets import transforms
from bharnet_mm.datasets.transforms import BodyHandTransform
from bharnet_mm.datasets.transforms.base import neighbours
from bharnet_mm.errors import ConfigError

# At least one configuration of every transform; all that take a different path.
CONFIGS = [
    dict(type='SelectPersons', max_persons=1),
    dict(type='SelectPersons', max_persons=2),
    dict(type='SelectJoints', layout='upper'),
    dict(type='SelectChannels', part='hand'),
    dict(type='SelectChannels', part='body', channels=(2, 0)),
    dict(type='InterpolateMissing'),
    dict(type='KeepRaisedHands'),
    dict(type='InterpolateMissing', max_gap=1, parts=('hand',)),
    dict(type='SampleWindow'),
    dict(type='SampleWindow', num_frames=100, window=(0.3, 0.9), min_frames=5),
    dict(type='SampleWindow', window=0.95),
    dict(type='SampleWindow', num_frames=16, method='uniform', min_frames=8),
    dict(type='SampleWindow', num_frames=16, method='uniform', window=1.0),
    dict(type='NormalizeSkeleton', part='body', center='first', scale='first'),
    dict(type='NormalizeSkeleton', part='body', center='frame', scale='frame'),
    dict(type='NormalizeSkeleton', part='body', space='canonical', center='first', scale='clip'),
    dict(type='NormalizeSkeleton', part='body', scale='clip'),
    dict(type='NormalizeSkeleton', part='hand', center='first', scale='first'),
    dict(type='NormalizeSkeleton', part='hand', space='canonical', center='frame', scale='frame'),
    dict(type='NormalizeSkeleton', part='hand', space='canonical', axis=0.5, scale='clip'),
    dict(type='RandomRotate'),
    dict(type='RandomRotate', theta=(0.1, 1.0, 0.0), plane='image'),
    dict(type='RandomScale'),
    dict(type='RandomScale', per_axis=False, shear=0.3),
    dict(type='RandomMirror', prob=1.0),
    dict(type='RandomMirror', prob=1.0, axis=dict(body=0.0, hand=0.5)),
    dict(type='RandomMirror', prob=0.0),
    dict(type='RandomNoise', sigma=dict(body=0.05, hand=0.1)),
    dict(type='DropFrames', ratio=0.3),
    dict(type='DropFrames', ratio=(0.2, 0.8), parts=('hand',)),
    dict(type='SampleWindow', num_frames=16, method='draw', min_frames=8),
    dict(type='ScaleAxes', parts=('body', 'hand')),
    dict(type='DropAxis', prob=1.0),
    dict(type='DropJoints', count=(1, 4), prob=1.0, parts=('body', 'hand')),
    dict(type='DropHands', prob=0.5, mode='clip'),
    dict(type='DropHands', prob=0.5, mode='hand'),
    dict(type='DropHands', prob=0.5, mode='frames'),
    *(
        dict(type='MakeFeature', feature=feature)
        for feature in ('joint', 'bone', 'joint_motion', 'bone_motion')
    ),
    dict(type='FormatBodyHand', num_persons=3),
    dict(type='FormatKeypoint', part='body'),
    dict(type='FormatKeypoint', part='hand'),
    dict(type='FormatKeypoint', part='unified'),
    dict(type='FormatKeypoint', part='unified', visibility=True),
    dict(type='PackBodyHand'),
]
UPPER = dict(
    name='upper',
    joints=('head', 'neck', 'left_shoulder', 'right_shoulder'),
    edges=(('head', 'neck'), ('neck', 'left_shoulder'), ('neck', 'right_shoulder')),
    parents=dict(head='neck', left_shoulder='neck', right_shoulder='neck'),
    center=('neck',),
    scale=('left_shoulder', 'right_shoulder'),
    swaps=(('left_shoulder', 'right_shoulder'),),
)
TRANSFORMS.import_from_location()  # what a lookup does first
REGISTERED = sorted(
    (
        cls
        for cls in TRANSFORMS.module_dict.values()
        if isinstance(cls, type) and issubclass(cls, BodyHandTransform)
    ),
    key=lambda cls: cls.__name__,
)
MAY_REVEAL = {'InterpolateMissing', 'SampleWindow'}


def build(config):
    config = {**config, 'layout': UPPER} if 'layout' in config else config
    return TRANSFORMS.build(config)


def name(config):
    return '-'.join(str(value) for value in config.values())


@pytest.fixture
def run(make_results):
    """Input and output of a transform for a clip whose masked entries hold ``masked``."""

    def apply(config, masked=np.nan, frames=50, seed=5, **options):
        results = make_results(frames=frames, masked=masked, **options)
        if config['type'] == 'PackBodyHand':
            results = build(dict(type='FormatBodyHand'))(results)
        np.random.seed(seed)
        return results, build(config)(results)

    return apply


def snapshot(results):
    return {k: v.copy() if isinstance(v, np.ndarray) else copy.copy(v) for k, v in results.items()}


def visible_content(results):
    """Everything that a transform gave, masked coordinates left out."""
    content = {}
    for key, value in results.items():
        mask = {'body_pixel': 'body_visible'}.get(key, f'{key}_visible')
        if key == 'inputs':
            content.update({k: v.numpy() for k, v in value.items()})
        elif isinstance(value, np.ndarray):
            content[key] = value[results[mask]] if mask in results else value
    return content


def test_every_registered_transform_is_covered():
    # These need videos or pictures and have files of their own.
    covered = {config['type'] for config in CONFIGS} | {'CutRegions', 'FormatGrid'}
    assert {cls.__name__ for cls in REGISTERED} == covered
    public = {name for name in transforms.__all__ if name != 'BodyHandTransform'}
    assert public == {cls.__name__ for cls in REGISTERED}


@pytest.mark.parametrize('config', CONFIGS, ids=name)
@pytest.mark.parametrize('persons', (1, 2))
def test_masked_entries_have_no_path_to_the_output(config, persons, run):
    outputs = [
        visible_content(run(config, masked, persons=persons, pixels=True)[1])
        for masked in (0.0, np.nan, np.inf, -3e38, 1e6)
    ]
    for other in outputs[1:]:
        assert other.keys() == outputs[0].keys()
        for key, value in outputs[0].items():
            np.testing.assert_array_equal(other[key], value, err_msg=key)
            assert np.isfinite(value).all(), key


@pytest.mark.parametrize('config', CONFIGS, ids=name)
@pytest.mark.parametrize('gaps', (True, False))
def test_input_stays_as_it_is(config, gaps, make_results):
    results = make_results(frames=40, persons=2, gaps=gaps, pixels=True)
    if config['type'] == 'PackBodyHand':
        results = build(dict(type='FormatBodyHand'))(results)
    for value in results.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    before, items = snapshot(results), dict(results)
    output = build(config)(results)
    assert output is not results
    assert results.keys() == items.keys()
    for key, value in results.items():
        assert value is items[key]
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_nothing_missing_becomes_visible(config, run):
    before, after = run(config, persons=2)
    if config['type'] in MAY_REVEAL or config['type'] == 'SelectPersons':
        return
    swapped = config['type'] == 'RandomMirror' and config['prob'] == 1
    for part in ('body', 'hand'):
        old = before.get(f'{part}_visible')
        if f'{part}_visible' not in after or old is None:
            continue
        old = old[:, ::-1] if swapped and part == 'hand' else old
        assert not (after[f'{part}_visible'] & ~old).any()


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_a_clip_with_nothing_visible_passes(config, make_results):
    results = make_results(frames=9, persons=2)
    results['body_visible'] = np.zeros_like(results['body_visible'])
    results['hand_visible'] = np.zeros_like(results['hand_visible'])
    if config['type'] == 'PackBodyHand':
        results = build(dict(type='FormatBodyHand'))(results)
    output = build(config)(results)
    for key in ('body_visible', 'hand_visible', 'body_mask', 'hand_mask'):
        assert not np.any(output.get(key, False))


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_a_clip_of_one_frame_passes(config, run):
    _, output = run(config, frames=1, gaps=False)
    content = visible_content(output)
    assert content and all(np.isfinite(value).all() for value in content.values())
    assert any(value.size for value in content.values())


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_random_numbers_come_from_the_global_generator_alone(config, run):
    def flat(output):
        return {
            k: v.numpy() if isinstance(v, torch.Tensor) else v
            for k, v in {**output, **output.get('inputs', {})}.items()
            if isinstance(v, (np.ndarray, torch.Tensor))
        }

    first, second = (flat(run(config, persons=2, masked=0.0)[1]) for _ in range(2))
    for key, value in first.items():
        np.testing.assert_array_equal(second[key], value)


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_float32_and_bool_stay(config, run):
    _, output = run(config, persons=2)
    if config['type'] == 'PackBodyHand':
        return
    assert output['body'].dtype == output['hand'].dtype == np.float32
    for key in ('body_visible', 'hand_visible', 'body_mask', 'hand_mask'):
        assert key not in output or output[key].dtype == bool


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_repr_shows_type_and_arguments_and_transforms_travel(config, run):
    transform = build(config)
    text = repr(transform)
    assert text.startswith(f'{config["type"]}(')
    for argument, value in config.items():
        if argument not in ('type', 'layout'):
            assert f'{argument}={value!r}' in text
    assert repr(pickle.loads(pickle.dumps(transform))) == text


@pytest.mark.parametrize('cls', REGISTERED, ids=lambda cls: cls.__name__)
def test_docstring_lists_the_keys(cls):
    doc = cls.__doc__
    assert 'Required Keys:' in doc
    assert 'Modified Keys:' in doc or 'Added Keys:' in doc
    parameters = [
        name for name in inspect.signature(cls).parameters if name not in ('args', 'kwargs')
    ]
    assert ('Args:' in doc) == bool(parameters)
    for parameter in parameters:
        assert f'        {parameter}: ' in doc


@pytest.mark.parametrize(
    'config',
    [
        dict(type='SelectPersons', max_persons=0),
        dict(type='SelectPersons', max_persons=1.5),
        dict(type='SelectChannels', part='face'),
        dict(type='SelectChannels', part='hand', channels=()),
        dict(type='SelectChannels', part='hand', channels=('x', 'w')),
        dict(type='SelectChannels', part='hand', channels=('xy',)),
        dict(type='SelectChannels', part='hand', channels=(0, 'x')),
        dict(type='SelectChannels', part='hand', channels=2),
        dict(type='InterpolateMissing', max_gap=0),
        dict(type='InterpolateMissing', parts='body'),
        dict(type='InterpolateMissing', parts=('body', 'body')),
        dict(type='InterpolateMissing', parts=()),
        dict(type='SampleWindow', num_frames=0),
        dict(type='SampleWindow', window=0),
        dict(type='SampleWindow', window=1.2),
        dict(type='SampleWindow', window=(0.9, 0.5)),
        dict(type='SampleWindow', window=(0.0, 0.5)),
        dict(type='SampleWindow', window='all'),
        dict(type='SampleWindow', min_frames=0),
        dict(type='SampleWindow', method='linear'),
        dict(type='NormalizeSkeleton', part='both'),
        dict(type='NormalizeSkeleton', part='body', space='camera'),
        dict(type='NormalizeSkeleton', part='body', center=True),
        dict(type='NormalizeSkeleton', part='body', scale='max'),
        dict(type='NormalizeSkeleton', part='hand', axis=None),
        dict(type='RandomRotate', theta=-0.1),
        dict(type='RandomRotate', theta=(0.1, 0.2)),
        dict(type='RandomRotate', plane='xy'),
        dict(type='RandomRotate', prob=2),
        dict(type='RandomScale', scale=1.0),
        dict(type='RandomScale', per_axis=1),
        dict(type='RandomScale', shear=-1),
        dict(type='RandomMirror', prob=-0.1),
        dict(type='RandomMirror', axis=dict(body=0.5)),
        dict(type='RandomMirror', axis='x'),
        dict(type='RandomNoise', sigma=0.1),
        dict(type='RandomNoise', sigma={}),
        dict(type='RandomNoise', sigma=dict(foot=0.1)),
        dict(type='RandomNoise', sigma=dict(body=-1)),
        dict(type='DropFrames', ratio=1.1),
        dict(type='DropFrames', ratio=(0.5, 0.1)),
        dict(type='DropFrames', ratio=0.1, parts=('feet',)),
        dict(type='ScaleAxes', parts='body'),
        dict(type='DropAxis', prob=2),
        dict(type='DropJoints', count=(3, 2)),
        dict(type='DropJoints', count=4),
        dict(type='DropHands', prob=float('nan')),
        dict(type='DropHands', prob=True),
        dict(type='DropHands', prob=0.1, mode='all'),
        dict(type='MakeFeature', feature='velocity'),
        dict(type='FormatBodyHand', num_persons=-1),
        dict(type='FormatKeypoint', part='face'),
        dict(type='FormatKeypoint', num_persons=0),
        dict(type='PackBodyHand', meta_keys='clip_id'),
    ],
    ids=name,
)
def test_wrong_arguments_are_found_at_construction(config):
    with pytest.raises(ConfigError) as caught:
        build(config)
    assert config['type'] in str(caught.value) and 'Fix:' in str(caught.value)


@pytest.mark.parametrize('config', CONFIGS, ids=name)
def test_a_missing_key_is_named(config):
    with pytest.raises(ConfigError, match=f"{config['type']} on clip 'a'.*no key '"):
        build({**config, **({'prob': 1.0} if 'prob' in config else {})})({'clip_id': 'a'})


def test_neighbours():
    mask = np.array([[0, 1, 0, 0, 1, 0], [0] * 6], dtype=bool)
    before, after = neighbours(mask)
    np.testing.assert_array_equal(before, [[-1, 1, 1, 1, 4, 4], [-1] * 6])
    np.testing.assert_array_equal(after, [[1, 1, 4, 4, 4, 6], [6] * 6])
