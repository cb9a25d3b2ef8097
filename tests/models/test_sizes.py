"""The recognizer fills in the sizes that follow from its networks, and checks those given."""

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

from bharnet_mm.errors import ConfigError
from bharnet_mm.models import BodyGuidedRGB
from bharnet_mm.models.backbone import ExpertNetwork
from bharnet_mm.models.rgb import rgb_width


def build(head=None, rgb=False, body=None, **options):
    init_default_scope('mmaction')
    network = dict(type='DeGCN', base_channels=16, num_blocks=3, widen_at=(2,), stride_at=(2,))
    config = dict(
        type='BHaRNet',
        backbone=dict(
            type='BodyHandBackbone',
            body=body or dict(network, layout='coco'),
            hand=dict(network, layout='hand', base_channels=32),
        ),
        cls_head=dict(
            dict(type='BHaRNetHead', num_classes=4, branches=('interactive',), attention={})
            | (head or {})
        ),
    )
    if rgb:
        stages = dict(num_stages=2, out_indices=(1,), strides=(1, 2), dilations=(1, 1))
        config |= dict(type='BHaRNetM', rgb=dict(backbone=dict(type='ResNet', depth=18, **stages)))
    return MODELS.build(config | options)


def test_widths_joints_and_frames_are_filled_in():
    model = build(num_frames=30)
    assert [model.cls_head.classifiers[n][0].fc.in_features for n in ('body', 'hand')] == [32, 64]
    attention = model.cls_head.attentions[0]
    assert attention.body['joint'].position.shape == (17, 32)
    assert attention.hand['joint'].position.shape == (21, 64)
    assert attention.body['frame'].position.shape == (15, 32)  # a stride of 2
    assert isinstance(model.backbone.experts.body, ExpertNetwork)


def test_the_picture_stream_is_measured():
    model = build(rgb=True)
    assert model.cls_head.modalities == ('body', 'hand', 'rgb')
    assert (
        model.cls_head.classifiers['rgb'][0].fc.in_features == 2 * 5 * 128
    )  # mean and maximum, parts, ResNet's second stage
    config = dict(type='BodyGuidedRGB', backbone=dict(type='ResNet', depth=18))
    assert rgb_width(config) == 512
    assert isinstance(MODELS.build(config), BodyGuidedRGB)


def test_measuring_draws_no_random_number():
    init_default_scope('mmaction')
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    rgb_width(dict(type='BodyGuidedRGB', backbone=dict(type='ResNet', depth=18)))
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    'head, said',
    [
        (dict(in_channels=32), 'in_channels, hand: found 32; expected 64'),
        (dict(in_channels=dict(body=8, hand=64)), 'in_channels, body: found 8; expected 32'),
        (dict(attention=dict(body_joints=25)), 'body_joints: found 25; expected 17'),
        (dict(modalities=('body', 'hand', 'rgb')), "'rgb', or leave it out of modalities"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(head, said):
    with pytest.raises(ConfigError) as caught:
        build(head)
    assert said in str(caught.value)


def test_a_stock_network_has_to_be_described():
    graph = dict(layout='coco', mode='stgcn_spatial')
    stock = dict(type='STGCN', graph_cfg=graph, base_channels=16, num_stages=2)
    plain = dict(branches=('vanilla',), attention=None)
    with pytest.raises(ConfigError, match='give in_channels'):
        build(plain, body=stock)
    model = build(plain | dict(in_channels=dict(body=16, hand=64)), body=stock)
    assert model.cls_head.classifiers['body'][0].fc.in_features == 16


@pytest.mark.parametrize('blocks, width, stride', [(1, 16, 1), (2, 32, 2), (3, 32, 2), (5, 64, 4)])
def test_a_shorter_network_is_narrower_and_strides_less(blocks, width, stride):
    init_default_scope('mmaction')
    options = dict(base_channels=16, widen_at=(2, 5), stride_at=(2, 4), num_blocks=blocks)
    network = MODELS.build(dict(type='DeGCN', layout='coco', **options)).eval()
    features = network(torch.randn(1, 1, 16, 17, 3))
    assert (network.num_features, network.temporal_stride) == (width, stride)
    assert features.shape == (1, 1, width, 16 // stride, 17)
