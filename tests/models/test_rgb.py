import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

import bharnet_mm  # noqa: F401
from bharnet_mm.errors import ConfigError
from bharnet_mm.layouts import REGION_PARTS, get_layout
from bharnet_mm.models import pack

NETWORK = dict(
    type='ResNet', depth=18, num_stages=1, out_indices=(0,), strides=(1,), dilations=(1,)
)
LAYOUT = get_layout('kinect_v2')
ROWS, COLUMNS, CELL = len(REGION_PARTS), 3, 12


def branch(**kwargs):
    torch.manual_seed(0)
    arguments = dict(backbone=NETWORK, layout='kinect_v2', parts=REGION_PARTS) | kwargs
    return MODELS.build(dict(type='BodyGuidedRGB') | arguments)


def bodies(clips=5, persons=2, frames=10, channels=8, seed=0):
    """Body features: clip 0 shows one person, clip 1 nobody, frames are missing."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(clips, persons, frames, generator=g) > 0.3
    mask[0, 1] = False
    mask[1] = False
    mask[2, 0, 1:] = False  # fewer visible frames than are averaged
    x = torch.randn(clips, persons, frames, LAYOUT.num_joints, channels, generator=g)
    instances = pack(x, mask)
    instances.x.requires_grad_()
    return instances, mask


def grids(clips=5, seed=0):
    """Grids with missing regions; the last clip has none."""
    g = torch.Generator().manual_seed(seed)
    rgb = torch.randn(clips, 3, ROWS * CELL, COLUMNS * CELL, generator=g)
    mask = torch.rand(clips, ROWS, COLUMNS, generator=g) > 0.3
    mask[clips - 1] = False
    return rgb, mask


def reference_weights(streams, mask, ratio):
    """Clip by clip, in numpy, from the packed features."""
    instances = streams[0]
    weights = np.ones((len(mask), ROWS))
    for n in range(len(mask)):
        persons = []  # (V, visible T)
        for p in range(len(instances.clip)):
            if instances.clip[p] == n:
                x = np.concatenate([s.x[p].detach().numpy() for s in streams])
                visible = instances.mask[p].numpy()
                persons.append(np.sqrt((x.astype(float) ** 2).sum(0))[:, visible])
        if not persons:
            continue
        low, high = min(s.min() for s in persons), max(s.max() for s in persons)
        count = max(1, round(ratio * instances.mask.shape[1]))
        for row, part in enumerate(REGION_PARTS):
            tops = []
            for s in persons:
                line = s[LAYOUT.part_index(part)].mean(0)
                tops.append(np.sort(line)[::-1][:count].mean())
            weights[n, row] = 2 * (max(tops) - low) / (high - low)
    return weights


@pytest.mark.parametrize('ratio', [0.05, 0.2, 1.0])
@pytest.mark.parametrize('num_streams', [1, 2])
def test_weights_are_those_of_a_plain_computation(ratio, num_streams):
    streams = [bodies(seed=0)[0]]
    if num_streams == 2:
        streams.append(bodies(seed=0)[0].with_features(torch.randn_like(streams[0].x)))
    _, mask = bodies()
    weights = branch(top_ratio=ratio).region_weights(streams)
    np.testing.assert_allclose(weights, reference_weights(streams, mask, ratio), atol=1e-5)
    assert weights.min() >= 0 and weights.max() <= 2
    assert torch.equal(weights[1], torch.ones(ROWS))  # nobody there


def test_weights_of_a_clip_do_not_depend_on_the_others():
    module = branch()
    together = module.region_weights([bodies()[0]])
    x = torch.randn(1, 2, 10, 25, 8, generator=torch.Generator().manual_seed(3))
    mask = torch.ones(1, 2, 10, dtype=torch.bool)
    alone = module.region_weights([pack(x, mask)])
    loud = torch.cat([100 * torch.randn(3, 2, 10, 25, 8), x])
    among = module.region_weights([pack(loud, mask.expand(4, -1, -1))])
    assert torch.equal(among[3], alone[0])
    assert len(together) == 5


def test_masked_frames_have_no_weight():
    module = branch()
    instances, _ = bodies()
    before = module.region_weights([instances])
    loud = torch.where(instances.mask[:, None, None], instances.x, 1e3 * torch.ones(()))
    assert torch.equal(module.region_weights([instances.with_features(loud)]), before)


def test_flat_features_leave_the_grid_as_it_is():
    instances, _ = bodies()
    weights = branch().region_weights([instances.with_features(torch.ones_like(instances.x))])
    assert torch.equal(weights, torch.ones_like(weights))


@pytest.mark.parametrize('detach', [True, False])
def test_gradient_to_the_body_expert(detach):
    module = branch(detach=detach).eval()
    instances, _ = bodies()
    with torch.no_grad():
        instances.x[0, :, 3, 4] = 0  # no direction: the gradient of a norm could be NaN here
    rgb, mask = grids()
    module(rgb, mask, [instances]).square().sum().backward()
    if detach:
        assert instances.x.grad is None
    else:
        assert instances.x.grad.isfinite().all() and instances.x.grad.any()


def test_gradient_of_the_weights():
    module = branch(detach=False).double()
    instances, _ = bodies(channels=3)
    x = instances.x.detach()[:3].double().requires_grad_()

    def weights(x):
        few = pack(torch.zeros(5, 2, 10, 25, 3), torch.zeros(5, 2, 10, dtype=torch.bool))
        few.x, few.mask = x, instances.mask[:3]
        few.clip, few.slot = instances.clip[:3], instances.slot[:3]
        return module.region_weights([few])

    assert torch.autograd.gradcheck(weights, x)


def test_weights_multiply_the_rows():
    class Same(torch.nn.Module):
        def forward(self, x):
            return x

    module = branch()
    module.backbone = Same()
    instances, _ = bodies()
    rgb, mask = grids()
    weights = module.region_weights([instances])
    found = module(rgb, mask, [instances])
    for n in range(5):
        for r in range(ROWS):
            for f in range(COLUMNS):
                cell = (n, slice(None), slice(r * CELL, r * CELL + CELL))
                cell = (*cell, slice(f * CELL, f * CELL + CELL))
                expected = rgb[cell] * weights[n, r] if mask[n, r, f] else 0 * rgb[cell]
                assert torch.equal(found[cell], expected)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('filler', [float('nan'), float('inf'), 1e6])
def test_masked_regions_do_not_move_the_output_by_one_bit(training, filler):
    rgb, mask = grids()
    full = mask.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2)[:, None]
    results = []
    for picture in (rgb, rgb.masked_fill(~full, filler)):
        module = branch().train(training)
        y = module(picture, mask, [bodies()[0]])
        y.square().sum().backward()
        results.append([y, *(p.grad for p in module.parameters()), *module.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert all(a.isfinite().all() for a in results[1])
    assert not results[0][0][-1].any()  # the clip without regions


def test_clips_without_regions_enter_no_statistic():
    rgb, mask = grids()
    one, other = branch(), branch()
    one(rgb, mask)
    other(rgb[:4], mask[:4])
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))


def test_a_batch_without_any_region_still_gives_every_parameter_a_gradient():
    module = branch().train()
    before = [b.clone() for b in module.buffers() if b.is_floating_point()]
    y = module(grids()[0], torch.zeros(5, ROWS, COLUMNS, dtype=torch.bool), [bodies()[0]])
    y.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())
    after = [b for b in module.buffers() if b.is_floating_point()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_pictures_alone_as_a_stock_backbone():
    module = branch(layout=None).eval()
    rgb, _ = grids()
    assert torch.equal(module(rgb), module.backbone(rgb))
    seen = torch.ones(5, ROWS, COLUMNS, dtype=torch.bool)
    assert torch.equal(module(rgb, seen, [bodies()[0]]), module.backbone(rgb))


@pytest.mark.parametrize(
    'options',
    [
        dict(parts=('head', 'tail')),
        dict(parts=()),
        dict(layout='hand'),
        dict(top_ratio=0.0),
        dict(top_ratio=1.5),
    ],
)
def test_bad_options(options):
    with pytest.raises(ConfigError, match='Fix'):
        branch(**options)


def test_a_grid_that_does_not_fit_is_named():
    rgb, mask = grids()
    with pytest.raises(ConfigError, match='61 x 36 with a mask of 5 x 3'):
        branch()(torch.zeros(5, 3, 61, 36), mask)
    with pytest.raises(ConfigError, match="4 rows.*5, one for each of parts=.'head'"):
        branch()(rgb[:, :, : 4 * CELL], mask[:, :4])


def test_weights_of_torchvision_are_loaded_where_a_config_names_them(tmp_path):
    """By the names of its files: conv1, bn1, layer2.0.downsample.0 and so on; fc is left over."""
    plain = MODELS.build(dict(type='ResNet', depth=18))
    given = {'fc.weight': torch.zeros(1000, 512), 'fc.bias': torch.zeros(1000)}
    for name, value in plain.state_dict().items():
        for place in ('conv1', 'conv2', 'downsample'):
            conv, norm = (
                ('downsample.0', 'downsample.1')
                if place == 'downsample'
                else (place, place.replace('conv', 'bn'))
            )
            name = name.replace(f'{place}.conv.', f'{conv}.').replace(f'{place}.bn.', f'{norm}.')
        given[name] = torch.randn_like(value) if value.is_floating_point() else value
    assert {'bn1.running_var', 'layer2.0.downsample.0.weight', 'layer4.1.bn2.bias'} <= set(given)
    path = tmp_path / 'resnet18.pth'
    torch.save(given, path)
    module = branch(backbone=dict(type='ResNet', depth=18, pretrained=str(path)))
    module.init_weights()
    loaded = module.backbone.state_dict()
    assert torch.equal(
        loaded['layer2.0.downsample.conv.weight'], given['layer2.0.downsample.0.weight']
    )
    wanted = sorted(float(v.sum()) for k, v in given.items() if 'fc' not in k)
    assert sorted(float(v.sum()) for v in loaded.values()) == wanted
