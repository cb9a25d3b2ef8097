"""Picture fractions become square before anything geometric."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from bharnet_mm.apis.doctor.examine import examine
from bharnet_mm.datasets import BodyHandDataset, Clip, ClipStore, StoreWriter
from bharnet_mm.datasets.coordinates import square
from bharnet_mm.datasets.regions import ClipRegions, RegionGrid
from bharnet_mm.errors import ClipError
from bharnet_mm.layouts import get_layout

LANDSCAPE, PORTRAIT = (1920, 1080), (1080, 1920)
LAYOUT = get_layout('mediapipe_pose')


def filmed(clip_id, size, pixels=True, units=('', ''), channels=2, seed=0, **fields):
    """One scene, given in pixels, as fractions of a picture of some size."""
    random = np.random.default_rng(seed)
    frames = 24
    body = random.uniform(200, 900, (1, frames, 33, 3))
    body[:, 1:] = body[:, :1] + random.normal(0, 40, (1, frames - 1, 33, 3)).cumsum(axis=1)
    wrists = body[:, :, [15, 16]].transpose(0, 2, 1, 3)[:, :, :, None]
    hand = wrists + np.concatenate(
        [np.zeros((1, 2, frames, 1, 3)), random.normal(0, 90, (1, 2, frames, 20, 3))], axis=3
    )
    unit = np.array([size[0], size[1], size[0]])
    return Clip(
        clip_id=clip_id,
        label=0,
        body=(body / unit).astype(np.float32)[..., :channels],
        body_score=np.ones((1, frames), np.float32),
        hand=(hand / unit).astype(np.float32)[..., :channels],
        hand_score=np.ones((1, 2, frames), np.float32),
        frame_index=np.arange(frames, dtype=np.int32),
        body_pixel=body[..., :2].astype(np.float32) if pixels else None,
        image_size=size,
        units=units,
        **fields,
    )


def write(path, clips, pixels=True, channels=2):
    names = ('x', 'y', 'z')[:channels]
    with StoreWriter(
        path,
        name='films',
        body_layout=LAYOUT,
        classes=['a', 'b'],
        pixels=pixels,
        body_channels=names,
        hand_channels=names,
    ) as writer:
        for clip in clips:
            writer.add(clip)
    return path


PREPARE = [
    dict(type='SelectJoints', layout='mediapipe_upper_body'),
    dict(type='NormalizeSkeleton', part='body', center='frame', scale='clip'),
    dict(type='NormalizeSkeleton', part='hand', space='canonical', center='frame', scale='clip'),
]
PACK = [
    dict(type='SampleWindow', num_frames=16, window=1.0),
    dict(type='FormatBodyHand', num_persons=1),
    dict(type='PackBodyHand'),
]
AUGMENT = [
    dict(type='RandomMirror', prob=0.5),
    dict(type='RandomRotate', theta=0.5, plane='image'),
    dict(type='RandomScale', scale=0.2, shear=0.1),
    dict(type='RandomNoise', sigma=dict(body=0.05, hand=0.05)),
]


@pytest.mark.parametrize('pixels', [True, False])
@pytest.mark.parametrize('channels', [2, 3])
@pytest.mark.parametrize('units', [('', ''), ('fraction', 'fraction')])
@pytest.mark.parametrize('augment', [[], AUGMENT])
def test_a_scene_gives_the_same_features_in_portrait(tmp_path, pixels, channels, units, augment):
    clips = [filmed('landscape', LANDSCAPE, pixels, units, channels)]
    clips += [filmed('portrait', PORTRAIT, pixels, units, channels)]
    store = write(tmp_path / 'store', clips, pixels, channels)
    dataset = BodyHandDataset(store, [*PREPARE, *augment, *PACK])
    inputs = []
    for i in range(2):
        np.random.seed(3)
        inputs.append(dataset[i]['inputs'])
    for name in ('body', 'hand'):
        limit = 1e-6 * max(1.0, float(inputs[0][name].abs().max()))
        assert (inputs[0][name] - inputs[1][name]).abs().max() <= limit
        assert inputs[0][name].abs().max() > 0.5


def test_a_scene_gets_the_same_prediction_in_portrait(tmp_path):
    clips = [filmed('landscape', LANDSCAPE), filmed('portrait', PORTRAIT)]
    dataset = BodyHandDataset(write(tmp_path / 'store', clips), [*PREPARE, *PACK])
    torch.manual_seed(0)
    body = dict(
        type='DeGCN',
        layout='mediapipe_upper_body',
        in_channels=2,
        base_channels=16,
        num_blocks=2,
        widen_at=(2,),
        stride_at=(2,),
    )
    network = MODELS.build(dict(type='BodyHandBackbone', body=body, feature='bone')).eval()
    scores = []
    for i in range(2):
        inputs = {k: v[None] for k, v in dataset[i]['inputs'].items()}
        with torch.no_grad():
            scores.append(network(inputs)['body'][0].pool())
    assert scores[0].abs().max() > 0.1
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-5, atol=1e-5)


def test_without_a_size_nothing_changes(tmp_path):
    clip = replace(filmed('a', LANDSCAPE, pixels=False), image_size=(0, 0))
    store = ClipStore(write(tmp_path / 'store', [clip], pixels=False))
    data = BodyHandDataset(store, [lambda results: results])[0]
    np.testing.assert_array_equal(data['body'], clip.body)
    np.testing.assert_array_equal(data['hand'], clip.hand)


def test_metres_pixels_and_crops_are_not_fractions(tmp_path):
    random = np.random.default_rng(1)
    fractions = filmed('a', LANDSCAPE)
    pixels = replace(fractions, body=fractions.body_pixel, clip_id='pixels')
    crops = random.uniform(0, 1, fractions.hand.shape).astype(np.float32)
    crops = replace(fractions, hand=crops, clip_id='crops')
    metres = random.normal(0, 0.4, fractions.body.shape).astype(np.float32)
    metres = replace(fractions, body=metres, clip_id='metres')
    expected = {'pixels': ('', 'fraction'), 'crops': ('fraction', ''), 'metres': ('', 'fraction')}
    for clip in (pixels, crops, metres):
        store = ClipStore(write(tmp_path / clip.clip_id, [clip]))
        assert store.units == expected[clip.clip_id]


def test_units_are_kept_and_must_agree(tmp_path):
    store = write(tmp_path / 'store', [filmed('a', LANDSCAPE, units=('fraction', 'crop'))])
    assert ClipStore(store).units == ClipStore(store)[0].units == ('fraction', 'crop')
    with StoreWriter(store, append=True) as writer:
        with pytest.raises(ClipError, match="unit 'metre'.*'fraction', as in the other clips"):
            writer.add(filmed('b', LANDSCAPE, units=('metre', 'crop')))
    with pytest.raises(ClipError, match='units'):
        filmed('c', LANDSCAPE, units=('inch', '')).validate(LAYOUT)


def test_square_leaves_x_and_depth_and_its_input():
    x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    y = square(x, (100, 50))
    np.testing.assert_array_equal(y, x * np.float32([1, 0.5, 1]))
    np.testing.assert_array_equal(x, np.arange(12).reshape(2, 2, 3))
    assert square(x, (0, 0)) is x and square(x, (64, 64)) is x


def test_squared_twice_is_squared_once():
    clip = filmed('a', LANDSCAPE, units=('fraction', 'metre'))
    once = clip.squared()
    assert once.units == ('width', 'metre') and once.hand is clip.hand
    assert once.squared() is once


def test_regions_of_a_squeezed_video_show_the_same_squares():
    clip = filmed('a', LANDSCAPE)
    grid = RegionGrid(('head',), num_frames=1, cell=8)
    visible = clip.body_score > 0
    regions = ClipRegions(grid, clip.body_pixel, visible, LAYOUT, LANDSCAPE)
    (full,) = regions.boxes(0, LANDSCAPE)
    (squeezed,) = regions.boxes(0, (960, 1080))
    assert full.size[0] == full.size[1]
    assert squeezed.size == pytest.approx((full.size[0] / 2, full.size[1]))


def test_the_doctor_says_where_the_size_is_not_known(tmp_path):
    clips = [replace(filmed(f'{i}', LANDSCAPE, pixels=False, seed=i)) for i in range(4)]
    known = examine(write(tmp_path / 'known', clips, pixels=False))
    assert not [f for f in known.findings if f.check == 'square']
    clips = [replace(clip, image_size=(0, 0)) for clip in clips]
    unknown = examine(write(tmp_path / 'unknown', clips, pixels=False))
    (found,) = [f for f in unknown.findings if f.check == 'square']
    assert found.count == 4 and 'width and height' in found.message
