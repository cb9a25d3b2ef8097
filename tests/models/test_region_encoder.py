"""Regions one by one: as a plain loop over cells, masks, gradients, the guidance by the body."""

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS

import bharnet_mm  # noqa: F401
from bharnet_mm.errors import ConfigError
from bharnet_mm.layouts import get_layout
from bharnet_mm.models import pack
from bharnet_mm.models.body_guide import BodyGuide
from bharnet_mm.models.region_encoder import PartNorm

NETWORK = dict(
    type='ResNet', depth=18, num_stages=1, out_indices=(0,), strides=(1,), dilations=(1,)
)
PARTS = ('head', 'left_wrist', 'right_wrist', 'person')
COLUMNS, CELL = 3, 12


def encoder(**kwargs):
    torch.manual_seed(0)
    arguments = dict(backbone=NETWORK, layout='kinect_v2', parts=PARTS, motion_size=3, dropout=0.0)
    module = MODELS.build(dict(type='RegionEncoder') | arguments | kwargs)
    torch.nn.init.normal_(module.norm.running_mean)
    torch.nn.init.uniform_(module.norm.running_var, 0.5, 2)
    return module


def bodies(clips=5, seed=0):
    """Body features: clip 0 shows one person, clip 1 nobody, frames are missing."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(clips, 2, 10, generator=g) > 0.3
    mask[0, 1] = False
    mask[1] = False
    mask[2, :, 3:] = False  # the last column sees no frame
    instances = pack(torch.randn(clips, 2, 10, 25, 8, generator=g), mask)
    instances.x.requires_grad_()
    return instances


def grids(clips=5, channels=4, seed=0):
    """Grids with missing regions; the last clip has none."""
    g = torch.Generator().manual_seed(seed)
    rgb = torch.randn(clips, channels, len(PARTS) * CELL, COLUMNS * CELL, generator=g)
    mask = torch.rand(clips, len(PARTS), COLUMNS, generator=g) > 0.3
    mask[0, 1] = False  # a part that is never there
    mask[clips - 1] = False
    return rgb, mask


def reference(module, rgb, mask, weights, guided=True):
    """Cell by cell and clip by clip."""
    out = torch.zeros(len(rgb), module.num_features)
    for n in range(len(rgb)):
        tokens = {}
        for r, f in mask[n].nonzero().tolist():
            cell = rgb[n, :, r * CELL : (r + 1) * CELL, f * CELL : (f + 1) * CELL][None]
            feature = module.backbone(cell[:, :3]).mean((2, 3))
            if module.motion:
                energy = F.adaptive_avg_pool2d(cell[:, 3:], module.motion_size).flatten(1)
                feature = torch.cat([feature, energy.clamp(min=0).sqrt()], 1)
            tokens[r, f] = feature[0]
        if not tokens:
            continue
        blocks = []
        for r in range(len(PARTS)):
            mine = [key for key in tokens if key[0] == r]
            if not mine:
                blocks.append(torch.zeros(module.norm.running_mean.size(1)))
                continue
            share = len(mine) / len(tokens)
            logits = [weights[n, r, f] * guided for r, f in mine]
            attention = torch.stack(logits).softmax(0)
            mean = sum(a * tokens[key] for a, key in zip(attention, mine, strict=True))
            peak = torch.stack([tokens[key] for key in mine]).amax(0)
            z = torch.cat([mean, peak]) - module.norm.running_mean[r]
            z = z / (module.norm.running_var[r] + 1e-5).sqrt()
            blocks.append(z * share * len(PARTS))
        out[n] = torch.cat(blocks) * 3 / module.num_features**0.5
    return out


@pytest.mark.parametrize('motion', [True, False])
@pytest.mark.parametrize('guided', [True, False])
def test_it_is_a_loop_over_cells(motion, guided):
    module = encoder(motion=motion).eval()
    rgb, mask = grids()
    body = [bodies()] if guided else None
    weights = module.guide.of_frames(body, COLUMNS) if guided else torch.ones(mask.shape)
    with torch.no_grad():
        found = module(rgb, mask, body)
        wanted = reference(module, rgb, mask, weights, guided)
    assert found.shape == (5, module.num_features, 1, 1) and wanted.abs().max() > 0.1
    torch.testing.assert_close(found[..., 0, 0], wanted, atol=1e-5, rtol=1e-4)
    assert not found[-1].any()  # the clip without regions


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('filler', [float('nan'), float('inf'), 1e6])
def test_masked_cells_do_not_move_anything_by_one_bit(training, filler):
    rgb, mask = grids()
    full = mask.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2)[:, None]
    results = []
    for picture in (rgb, rgb.masked_fill(~full, filler)):
        module = encoder(motion=True).train(training)
        y = module(picture, mask, [bodies()])
        y.square().sum().backward()
        results.append([y, *(p.grad for p in module.parameters()), *module.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert all(a.isfinite().all() for a in results[1])


def test_masked_cells_and_absent_clips_enter_no_statistic():
    rgb, mask = grids()
    one, other = encoder(), encoder()
    one(rgb, mask)
    cells = rgb.unflatten(2, (len(PARTS), CELL)).unflatten(4, (COLUMNS, CELL))
    other.backbone(cells.permute(0, 2, 4, 1, 3, 5)[mask][:, :3])
    buffers = zip(one.backbone.buffers(), other.backbone.buffers(), strict=True)
    assert all(torch.equal(a, b) for a, b in buffers)
    shown = mask.any(-1)
    g = encoder().train()._features(cells.permute(0, 2, 4, 1, 3, 5)[mask])
    tokens = torch.zeros(*mask.shape, g.size(1)).index_put(mask.nonzero(as_tuple=True), g)
    for r in range(len(PARTS)):
        mean = torch.stack([tokens[n, r][mask[n, r]].mean(0) for n in shown[:, r].nonzero()[:, 0]])
        start = encoder().norm.running_mean[r, : g.size(1)]
        wanted = start + 0.1 * (mean.mean(0) - start) if len(mean) > 1 else start
        torch.testing.assert_close(one.norm.running_mean[r, : g.size(1)], wanted)


def test_parts_are_normalised_as_by_batch_norm_over_the_clips_that_show_them():
    norm, x = PartNorm(3, 5), torch.randn(7, 3, 5)
    shown = torch.ones(7, 3, dtype=torch.bool)
    shown[2:, 1] = False  # two clips
    shown[1:, 2] = False  # one clip: too few
    plain = [torch.nn.BatchNorm1d(5, affine=False) for _ in range(2)]
    found = norm(x, shown)
    for r, few in ((0, slice(None)), (1, slice(2))):
        torch.testing.assert_close(found[few, r], plain[r](x[few, r]))
        torch.testing.assert_close(norm.running_mean[r], plain[r].running_mean)
        torch.testing.assert_close(norm.running_var[r], plain[r].running_var)
    torch.testing.assert_close(found[0, 2], x[0, 2], atol=1e-4, rtol=1e-4)
    assert not norm.running_mean[2].any() and (norm.running_var[2] == 1).all()
    assert not found[2:, 1].any() and not found[1:, 2].any()


def test_more_columns_that_are_masked_change_nothing():
    module = encoder().eval()
    rgb, mask = grids()
    wider = torch.cat([rgb, torch.full((5, 4, len(PARTS) * CELL, 2 * CELL), 7.0)], 3)
    wide_mask = torch.cat([mask, torch.zeros(5, len(PARTS), 2, dtype=torch.bool)], 2)
    with torch.no_grad():
        torch.testing.assert_close(module(wider, wide_mask), module(rgb, mask))


def test_a_clip_does_not_depend_on_its_neighbours():
    module = encoder().eval()
    rgb, mask = grids()
    with torch.no_grad():
        together = module(rgb, mask)
        for n in range(5):
            alone = module(rgb[n : n + 1], mask[n : n + 1])
            torch.testing.assert_close(alone[0], together[n], atol=1e-5, rtol=1e-4)


def test_counted_cells_give_the_same():
    module = encoder().eval()
    rgb, mask = grids()
    with torch.no_grad():
        counted = module(rgb, mask, num_cells=int(mask.sum()))
        assert torch.equal(counted, module(rgb, mask))


def test_a_batch_without_any_region_still_gives_every_parameter_a_gradient():
    module = encoder().train()
    y = module(grids()[0], torch.zeros(5, len(PARTS), COLUMNS, dtype=torch.bool), [bodies()])
    y.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())


def test_gradient_of_the_pooling():
    module = encoder(motion=True).double().eval()
    width = module.norm.running_mean.size(1) // 2
    tokens = torch.randn(3, len(PARTS), COLUMNS, width, dtype=torch.float64, requires_grad=True)
    guided = torch.randn(3, len(PARTS), COLUMNS, dtype=torch.float64, requires_grad=True)
    mask = grids(3)[1]
    assert torch.autograd.gradcheck(lambda t, g: module._pool(t, mask, g), (tokens, guided))


@pytest.mark.parametrize('detach', [True, False])
def test_gradient_to_the_body_expert(detach):
    module = encoder(detach=detach).eval()
    instances = bodies()
    rgb, mask = grids()
    module(rgb, mask, [instances]).square().sum().backward()
    assert (instances.x.grad is None) == detach
    assert detach or (instances.x.grad.isfinite().all() and instances.x.grad.any())


def test_weights_of_frames_are_those_of_a_plain_computation():
    guide, instances = BodyGuide('kinect_v2', PARTS), bodies()
    found = guide.of_frames([instances], COLUMNS)
    layout = get_layout('kinect_v2')
    norms = instances.x.detach().norm(dim=1)  # (P, V, T)
    for n in range(5):
        mine = (instances.clip == n).nonzero().flatten().tolist()
        seen = [norms[p][:, instances.mask[p]] for p in mine]
        for r, part in enumerate(PARTS):
            for f in range(COLUMNS):
                frames = [t for t in range(10) if abs(t + 0.5 - (f + 0.5) * 10 / 3) <= 10 / 6]
                values = []
                for p in mine:
                    there = [t for t in frames if instances.mask[p, t]]
                    line = norms[p][layout.part_index(part)].mean(0)
                    values += [line[there].mean()] if there else []
                if not values:
                    assert found[n, r, f] == 1
                    continue
                low, high = min(s.min() for s in seen), max(s.max() for s in seen)
                torch.testing.assert_close(found[n, r, f], 2 * (max(values) - low) / (high - low))


def test_pictures_alone_as_a_stock_backbone():
    module = encoder(layout=None).eval()
    rgb, _ = grids(channels=3)
    every = torch.ones(5, len(PARTS), COLUMNS, dtype=torch.bool)
    assert torch.equal(module(rgb), module(rgb, every))


def test_grids_that_do_not_fit_are_named():
    rgb, mask = grids()
    with pytest.raises(ConfigError, match="3 rows.*4, one for each of parts=.'head'"):
        encoder()(rgb[:, :, : 3 * CELL], mask[:, :3])
    with pytest.raises(ConfigError, match='48 x 24 with a mask of 4 x 3'):
        encoder()(rgb[..., : 2 * CELL], mask)
    with pytest.raises(ConfigError, match='3 channels; expected a fourth channel'):
        encoder(motion=True)(rgb[:, :3], mask)
    with pytest.raises(ConfigError, match='tail'):
        encoder(parts=('head', 'tail'))
