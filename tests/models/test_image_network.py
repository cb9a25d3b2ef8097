"""Networks of timm: weights of ImageNet from a package, wrong files, frozen groups, and no timm."""

import importlib.util
import sys

import pytest
import torch
from mmaction.registry import MODELS
from safetensors.torch import save_file
from torch import nn

import bharnet_mm  # noqa: F401
from bharnet_mm.errors import CheckpointError, ConfigError
from bharnet_mm.models.image_network import (
    PACKAGES,
    build_image_network,
    counted_together,
    map_width,
)

PACKAGE = PACKAGES['efficientnet_lite0']['package']
needs_timm = pytest.mark.skipif(
    not all(importlib.util.find_spec(n) for n in ('timm', 'torchvision', PACKAGE)),
    reason="needs pip install 'bharnet_mm[rgb]'",
)
SMALL = dict(type='timm.mobilenetv3_small_050')


def lite0(**options):
    return build_image_network(dict(type='timm.tf_efficientnet_lite0') | options)


def test_without_timm_our_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ConfigError, match=r"timm.tf_efficientnet_lite0.*install 'bharnet_mm\[rgb"):
        lite0()


@needs_timm
def test_weights_of_the_package_are_loaded_and_name_their_normalisation():
    network = lite0(pretrained='efficientnet_lite0')
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.init_weights()
    # Every tensor but counters of batches that are 0 in both is another one now.
    same = [n for n, v in network.state_dict().items() if torch.equal(v, before[n])]
    assert all('num_batches' in name for name in same)
    assert network.normalisation == ((127.0,) * 3, (128.0,) * 3)
    assert map_width(network) == 1280
    # The logits of the package's own order of layers: its classifier on these features.
    place = importlib.util.find_spec(PACKAGE).submodule_search_locations[0]
    path = f'{place}/{PACKAGES["efficientnet_lite0"]["file"]}'
    state = torch.load(path, weights_only=True)
    network.eval()
    red = torch.zeros(1, 3, 96, 96)
    red[:, 0] = 0.9
    with torch.no_grad():
        logits = network(red).mean((2, 3)) @ state['_fc.weight'].T + state['_fc.bias']
    assert logits.std() > 0.5 and logits.abs().max() < 30  # statistics fit the weights


@needs_timm
def test_a_pruned_network_ends_with_its_last_stage():
    whole = lite0(pretrained='efficientnet_lite0')
    pruned = lite0(pretrained='efficientnet_lite0', prune_head=True, frozen_stages=99)
    for network in (whole, pruned):
        network.init_weights()
        network.eval()
    assert map_width(pruned) == 320
    x = torch.randn(2, 3, 48, 48)
    stages = whole.network.blocks(whole.network.bn1(whole.network.conv_stem(x)))
    torch.testing.assert_close(pruned(x), stages)
    assert not any(p.requires_grad for p in pruned.parameters())


@needs_timm
def test_m_normalises_pictures_as_the_network_wants_them():
    small = dict(base_channels=16, num_blocks=1, num_stream=1, widen_at=(), stride_at=())
    model = MODELS.build(
        dict(
            type='BHaRNetM',
            backbone=dict(
                type='BodyHandBackbone',
                body=dict(type='DeGCN', layout='kinect_v2', **small),
                hand=dict(type='DeGCN', layout='hand', **small),
            ),
            rgb=dict(
                type='RegionEncoder',
                motion=True,
                backbone=dict(type='timm.tf_efficientnet_lite0', pretrained='efficientnet_lite0'),
            ),
            cls_head=dict(type='BHaRNetHead', num_classes=3),
        )
    )
    process = model.data_preprocessor
    assert process.mean.flatten().tolist() == [127, 127, 127, 0]
    pictures = torch.full((2, 4, 5, 5), 255, dtype=torch.uint8)
    ready = process.normalize(dict(inputs=dict(rgb=pictures)))['inputs']['rgb']
    assert ready[0, :, 0, 0].tolist() == [1, 1, 1, 255 / 32]


@needs_timm
def test_a_file_of_timms_own_names_with_a_classifier(tmp_path):
    source = build_image_network(SMALL)
    state = {n: torch.randn_like(v) if v.is_floating_point() else v + 3
             for n, v in source.network.state_dict().items()}  # fmt: skip
    save_file(state | {'classifier.weight': torch.zeros(9, 4)}, tmp_path / 'w.safetensors')
    network = build_image_network(SMALL | dict(pretrained=str(tmp_path / 'w.safetensors')))
    network.init_weights()
    assert all(torch.equal(v, state[n]) for n, v in network.network.state_dict().items())


@needs_timm
@pytest.mark.parametrize('fault', ['other network', 'one missing', 'one more', 'other shape'])
def test_a_wrong_file_is_refused_whole(tmp_path, fault):
    network = build_image_network(SMALL | dict(pretrained=str(tmp_path / 'w.pth')))
    state = dict(network.network.state_dict())
    if fault == 'other network':
        state = dict(MODELS.build(dict(type='ResNet', depth=18)).state_dict())
    elif fault == 'one missing':
        del state['conv_stem.weight']
    elif fault == 'one more':
        state['blocks.99.weight'] = torch.zeros(1)
    else:
        state['conv_stem.weight'] = state['conv_stem.weight'][:, :1].clone()
    torch.save({n: v + 1 for n, v in state.items()}, tmp_path / 'w.pth')
    before = [p.clone() for p in network.parameters()]
    with pytest.raises(CheckpointError, match='w.pth.*Fix: use weights of this network'):
        network.init_weights()
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@needs_timm
def test_names_that_do_not_fit():
    with pytest.raises(ConfigError, match='what timm refuses'):
        build_image_network(dict(type='timm.no_such_network'))
    with pytest.raises(ConfigError, match='the weights fit these only'):
        build_image_network(SMALL | dict(pretrained='efficientnet_lite0')).init_weights()


@needs_timm
@pytest.mark.parametrize('frozen', [-1, 0, 2, 99])
def test_frozen_groups_keep_parameters_and_statistics(frozen):
    network = build_image_network(SMALL | dict(frozen_stages=frozen)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.randn(4, 3, 64, 64, requires_grad=True)
    if frozen == 99:
        assert not network(x).requires_grad  # nothing is kept for a gradient
    else:
        network(x).square().sum().backward()
    with torch.no_grad():
        for p in network.parameters():
            if p.grad is not None:
                p.add_(p.grad)
    changed = {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}
    stem = {n for n in before if n.startswith(('network.conv_stem', 'network.bn1'))}
    assert bool(changed & stem) == (frozen < 0)
    assert bool(changed) == (frozen < 99)
    assert ('network.conv_head.weight' in changed) == (frozen < 99)
    assert any(n.startswith('network.blocks.0') for n in changed) == (frozen < 1)


def test_batches_are_counted_together():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4, momentum=None))
    frozen = nn.BatchNorm2d(4).eval()
    network.append(frozen)
    counts = [m.num_batches_tracked for m in network[1:]]
    with counted_together(network):
        network(torch.randn(2, 3, 4, 4))
    assert [int(c) for c in counts] == [1, 1, 0]
    assert network[1].num_batches_tracked is counts[0] and 'num_batches_tracked' in str(
        list(network.state_dict())
    )
    with pytest.raises(RuntimeError), counted_together(network):
        network(torch.randn(2, 5, 4, 4))
    assert network[1].num_batches_tracked is counts[0]
