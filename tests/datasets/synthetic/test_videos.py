import numpy as np
import pytest

from bharnet_mm.datasets.synthetic.gestures import GESTURES, OBJECTS, Gesture
from bharnet_mm.datasets.synthetic.rendering import VIDEO_SIZE, draw_scene
from bharnet_mm.datasets.synthetic.sample import SyntheticSample
from bharnet_mm.datasets.synthetic.videos import write_videos
from bharnet_mm.datasets.video import open_video
from bharnet_mm.layouts import get_layout

BODY = get_layout('kinect_v2')


def sample(*names, **options):
    return SyntheticSample(classes=names, **options)


def middle(one, label=0, repeat=1):
    """Frame in the middle of a clip, and the clip."""
    frames = list(draw_scene(one.scene(label, repeat)))
    return frames[len(frames) // 2], one.clip(label, repeat)


def near(image, color, limit=40):
    return (np.abs(image.astype(int) - color).max(axis=-1) < limit).sum()


@pytest.mark.parametrize('name', ('red ball', 'blue ball', 'yellow ball', 'yellow stick'))
def test_what_is_held_is_seen_at_the_acting_hand_and_nowhere_else(name):
    for repeat in range(4):
        image, clip = middle(sample(Gesture('raise', 'fist', name)), repeat=repeat)
        side = 'left' if clip.subject in ('3', '7') else 'right'
        t = clip.num_frames // 2
        if not clip.body_score[0, t]:
            continue
        x, y = clip.body_pixel[0, t, BODY.index(f'{side}_hand')] / 4
        box = slice(max(int(y) - 32, 0), int(y) + 32), slice(max(int(x) - 32, 0), int(x) + 32)
        seen = near(image, OBJECTS[name].color)
        assert seen > 15 and near(image[box], OBJECTS[name].color) == seen


def test_without_an_object_nothing_has_its_colour():
    for label in range(12):
        for repeat in (0, 5):
            image, _ = middle(SyntheticSample(), label, repeat)
            assert not any(near(image, item.color) for item in OBJECTS.values())


def test_the_picture_is_that_of_the_body():
    """People are where the joints are: there the picture differs from the room without them."""
    one = SyntheticSample()
    for label in (0, 10):
        scene = one.scene(label, 1)
        frames = np.stack(list(draw_scene(scene)))
        clip = one.clip(label, 1)
        assert frames.shape == (clip.num_frames, VIDEO_SIZE[1], VIDEO_SIZE[0], 3)
        for p in range(clip.num_persons):
            at = (clip.body_pixel[p, :, BODY.index('head')] / 4).round().astype(int)
            for t in np.flatnonzero(clip.body_score[p] > 0)[::9]:
                face = frames[t, at[t, 1], at[t, 0]].astype(int)
                assert np.abs(face - skins()).max(axis=1).min() < 12


def skins():
    from bharnet_mm.datasets.synthetic.rendering import _SKIN

    return np.array(_SKIN)


def test_fingers_are_seen():
    """Arms alike, fingers not: the pictures differ at the hand."""
    images = [
        list(draw_scene(sample(f'raise + {hand}').scene(0, 1)))[20] for hand in ('fist', 'point')
    ]
    differ = np.abs(images[0].astype(int) - images[1]).max(axis=-1) > 30
    assert 5 < differ.sum() < 400


def test_files_have_the_clips_frames_whoever_writes_them(tmp_path):
    one = SyntheticSample(classes=[GESTURES[0], GESTURES[12]], clips_per_class=2)
    write_videos(tmp_path / 'one', one, workers=0)
    write_videos(tmp_path / 'two', one, workers=2)
    for label, repeat in np.ndindex(2, 2):
        clip = one.clip(label, repeat)
        path = tmp_path / 'one' / clip.video
        assert path.read_bytes() == (tmp_path / 'two' / clip.video).read_bytes()
        info, frames = open_video(path)
        frames = list(frames)
        assert len(frames) == info.frames == clip.num_frames and info.fps == pytest.approx(30)
        drawn = list(draw_scene(one.scene(label, repeat)))
        for seen, meant in zip(frames[::20], drawn[::20], strict=True):
            assert np.abs(seen.astype(int) - meant).mean() < 4
