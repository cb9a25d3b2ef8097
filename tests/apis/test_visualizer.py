import numpy as np
import pytest

from bharnet_mm.apis.visualizer import (
    draw_clip,
    draw_skeleton,
    new_figure,
    save_clip,
    y_points_down,
)
from bharnet_mm.datasets import Clip
from bharnet_mm.datasets.synthetic.sample import SyntheticSample
from bharnet_mm.errors import ConfigError
from bharnet_mm.layouts import get_layout

BODY = get_layout('kinect_v2')


@pytest.fixture
def clip():
    clip = SyntheticSample(classes=['wave + open and close']).clip(0, 1)
    clip.body_score[:] = 1
    clip.hand_score[:] = 1
    clip.body[clip.body == 0] = 0.1
    return clip


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_one_column_a_frame_and_a_box_a_hand(clip):
    figure = draw_clip(clip, BODY, 'hand', num_frames=4)
    assert len(figure.axes) == 4 + 4 * 2 and texts(figure) == []
    assert len(draw_clip(clip, BODY, None, num_frames=4).axes) == 4
    edges = len(BODY.edges)
    assert [len(ax.lines) for ax in figure.axes] == [edges] * 4 + [21] * 8


def test_more_columns_than_frames(clip):
    short = Clip(**{**vars(clip)})
    for name in ('body', 'body_score', 'body_pixel'):
        setattr(short, name, getattr(clip, name)[:, :2])
    short.hand, short.hand_score = clip.hand[:, :, :2], clip.hand_score[:, :, :2]
    short.frame_index = clip.frame_index[:2]
    assert len(draw_clip(short, BODY, None, num_frames=9).axes) == 2


def test_missing_is_an_empty_box_that_says_so(clip):
    clip.hand_score[0, 0] = 0
    clip.hand[0, 0] = np.nan  # what is missing may be anything
    clip.body_score[:] = 0
    figure = draw_clip(clip, BODY, 'hand', num_frames=3)
    assert texts(figure) == ['missing'] * 6  # three bodies, three left hands
    assert [len(ax.lines) for ax in figure.axes[3:]] == [0, 21] * 3


def test_up_is_up_in_metres_and_in_pictures(clip):
    metres = draw_clip(clip, BODY, 'hand', num_frames=1).axes
    assert metres[0].get_ylim()[0] < metres[0].get_ylim()[1]
    assert metres[1].get_ylim()[0] > metres[1].get_ylim()[1]  # hands are in picture fractions
    assert not y_points_down(clip.body, BODY)
    clip.body[...] = np.concatenate([clip.body_pixel, clip.body_pixel[..., :1]], axis=-1)
    picture = draw_clip(clip, BODY, 'hand', num_frames=1).axes
    assert y_points_down(clip.body, BODY)
    assert picture[0].get_ylim()[0] > picture[0].get_ylim()[1]


def test_a_layout_without_a_head_is_upright():
    assert not y_points_down(np.zeros((2, 21, 3)), get_layout('hand'))


def test_sides_have_the_layouts_colours():
    ax = new_figure(2, 2).add_subplot()
    draw_skeleton(ax, np.random.default_rng(0).normal(size=(25, 3)), BODY)
    colors = [np.round(np.array(line.get_color()) * 255).astype(int).tolist() for line in ax.lines]
    for (start, end), color in zip(BODY.edge_index, colors, strict=True):
        names = {BODY.side(BODY.joints[start]), BODY.side(BODY.joints[end])} - {'middle'}
        assert color == list(BODY.colors[names.pop() if names else 'middle'])


@pytest.mark.parametrize('name', ['kinect_v1', 'mediapipe_pose', 'coco', 'coco_wholebody'])
def test_any_layout(tmp_path, clip, name):
    layout = get_layout(name)
    shape = (*clip.body.shape[:2], layout.num_joints, 2)
    clip.body = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    save_clip(tmp_path / 'clip.png', clip, layout, num_frames=2)
    assert (tmp_path / 'clip.png').read_bytes().startswith(b'\x89PNG')


def test_two_persons_have_two_rows_of_hands():
    clip = SyntheticSample(classes=['reach to another + fist']).clip(0, 1)
    assert len(draw_clip(clip, BODY, 'hand', num_frames=2).axes) == 2 + 2 * 2 * 2


def test_bad_argument(clip):
    with pytest.raises(ConfigError, match='num_frames=0'):
        draw_clip(clip, BODY, num_frames=0)
