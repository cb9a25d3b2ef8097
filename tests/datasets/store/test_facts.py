import numpy as np
import pytest

from bharnet_mm.datasets import ClipStore
from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.store.facts import StoreFacts
from bharnet_mm.datasets.store.regions import RegionWriter
from bharnet_mm.errors import ConfigError

SPLITS = {'S1_train': {'subject': ['2', '3']}, 'S1_test': {'subject': ['1']}}


def fractions(make_clip, legs):
    """Clips of MediaPipe poses in a picture; knees and ankles are inside it or below it."""
    clips = []
    for number in range(12):
        clip = make_clip(number, frames=40, joints=33, units=('fraction', 'fraction'))
        clip.body[:] = np.random.default_rng(number).uniform(0.1, 0.9, clip.body.shape)
        clip.body[..., 25:29, 1] += 0 if legs else 1
        clip.hand[:] = 0.5
        clips.append(clip)
    return clips


@pytest.mark.parametrize(
    'legs, layout', [(True, 'mediapipe_pose'), (False, 'mediapipe_upper_body')]
)
def test_legs_outside_the_picture_are_left_out(write_store, make_clip, legs, layout):
    path = write_store(
        clips=fractions(make_clip, legs),
        body_layout='mediapipe_pose',
        splits=SPLITS,
    )
    facts = StoreFacts(path)
    assert facts.layout == layout
    assert facts.body_channels == facts.hand_channels == ['x', 'y']
    assert facts.num_body_channels == 2
    assert facts.num_frames == 16 and facts.num_persons == 1
    assert facts.split('auto_train') == 'S1_train' and facts.split('auto_test') == 'S1_test'
    assert facts.split('S1_test') == 'S1_test'
    assert facts.num_classes == len(ClipStore(path).classes)


def test_metres_keep_their_depth_and_two_people_count(write_store, make_clip):
    clips = [
        make_clip(n, frames=100, persons=1 + n % 2, units=('metre', 'metre')) for n in range(6)
    ]
    facts = StoreFacts(write_store(clips=clips))
    assert facts.body_channels == ['x', 'y', 'z']
    assert facts.num_frames == 64 and facts.num_persons == 2
    assert facts.layout == 'kinect_v2'


def test_a_store_without_a_pair_of_splits_is_refused(write_store):
    with pytest.raises(ConfigError, match='a pair NAME_train and NAME_test'):
        StoreFacts(write_store(splits={'S1_train': {'subject': ['1']}})).split('auto_train')


def in_picture(make_clip, ankles):
    """Clips of a person in a picture of 100 x 100, the ankles inside or below it."""
    clips = []
    for number in range(4):
        pixel = np.random.default_rng(number).uniform(10, 90, (1, 20, 33, 2)).astype(np.float32)
        pixel[:, :, 27:29, 1] += 0 if ankles else 100
        sizes = dict(image_size=(100, 100), units=('metre', 'metre'))
        clips.append(make_clip(number, frames=20, joints=33, body_pixel=pixel, **sizes))
    return clips


@pytest.mark.parametrize('ankles', [True, False])
def test_parts_that_are_hardly_ever_in_the_picture_are_left_out(write_store, make_clip, ankles):
    path = write_store(
        clips=in_picture(make_clip, ankles), body_layout='mediapipe_pose', pixels=True
    )
    below = ['left_ankle', 'right_ankle'] if ankles else []
    expected = ['head', 'left_wrist', 'right_wrist', *below, 'person']
    assert StoreFacts(path).region_parts == expected
    # Where regions were cut, they say what there is, and the model takes the same.
    grid = RegionGrid(('head', 'left_ankle', 'person'), num_frames=2, cell=8)
    masks = np.ones((3, 3, 2), bool)
    masks[:, 1] = False
    with RegionWriter(path.parent / 'cut', grid) as writer:
        writer.add('a', [(b'', b'')] * 3, masks)
    cut = StoreFacts(path, path.parent / 'cut')
    assert cut.region_parts == ['head', 'person'] and cut.region_cell == 8
    assert StoreFacts(path).region_cell == RegionGrid().cell


def test_the_backbone_follows_what_is_installed(write_store, make_clip, monkeypatch):
    facts = StoreFacts(write_store(clips=[make_clip(0)]))
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert facts.region_backbone['type'] == 'ResNet' and facts.region_jitter == 0.1
    monkeypatch.setattr('importlib.util.find_spec', lambda name: name)
    found = facts.region_backbone
    assert found['pretrained'] == 'efficientnet_lite0' and found['frozen_stages'] == 99
    assert facts.region_jitter == 0  # so that the features of a cell are computed once
    monkeypatch.setattr('bharnet_mm.datasets.store.facts.SMALL', 1)
    assert facts.region_backbone['frozen_stages'] == -1 and facts.region_jitter == 0.1
