"""BHaRNet-M: skeleton experts and pictures as one model."""

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

import bharnet_mm  # noqa: F401
from bharnet_mm.errors import ConfigError
from bharnet_mm.evaluation import BodyHandMetric, load_scores

ROWS, COLUMNS, CELL = 5, 3, 12
ATTENTION = dict(body_joints=25, num_frames=4, embed_dims=8, num_heads=2)
BRANCHES = {'B': ('vanilla',), 'P': ('interactive',), 'E': ('interactive', 'expertized')}
MODALITIES = ('body', 'hand', 'rgb')


ENCODER = 'RegionEncoder'


@pytest.fixture(autouse=True, params=['RegionEncoder', 'BodyGuidedRGB'])
def encoder(request, monkeypatch):
    """Everything holds for both forms of the rgb expert."""
    monkeypatch.setitem(globals(), 'ENCODER', request.param)


def build(variant='B', type='BHaRNetM', head=None, hand=True, **kwargs):
    torch.manual_seed(0)
    branches = BRANCHES[variant]
    net = dict(
        type='DeGCN',
        base_channels=16,
        num_stream=len(branches),
        num_blocks=3,
        widen_at=(2,),
        stride_at=(2,),
    )
    pictures = dict(
        rgb=dict(
            type=ENCODER,
            backbone=dict(
                type='ResNet',
                depth=18,
                num_stages=1,
                out_indices=(0,),
                strides=(1,),
                dilations=(1,),
            ),
        )
    )
    present = ('body', 'hand') if hand else ('body',)
    model = MODELS.build(
        dict(
            type=type,
            backbone=dict(
                type='BodyHandBackbone',
                body=net | dict(layout='kinect_v2'),
                hand=net | dict(layout='hand') if hand else None,
            ),
            cls_head=dict(
                type='BHaRNetHead',
                num_classes=6,
                branches=branches,
                attention=None if variant == 'B' else ATTENTION,
                modalities=(*present, 'rgb') if type == 'BHaRNetM' else present,
            )
            | (head or {}),
        )
        | (pictures if type == 'BHaRNetM' else {})
        | kwargs
    )
    for name, p in model.named_parameters():  # as after training: no path is hidden by a zero
        if name.endswith(('out.weight', 'alpha', 'classifiers.rgb.0.fc.weight')):
            torch.nn.init.normal_(p, std=0.5)
    return model


def batch(clips=8, seed=0, absent=True):
    """Uint8 grids and skeletons; with ``absent``, clips without each of the modalities."""
    g = torch.Generator().manual_seed(seed)
    inputs = dict(
        body=torch.randn(clips, 2, 8, 25, 3, generator=g),
        body_mask=torch.rand(clips, 2, 8, generator=g) > 0.2,
        hand=torch.randn(clips, 4, 8, 21, 3, generator=g),
        hand_mask=torch.rand(clips, 4, 8, generator=g) > 0.5,
        rgb=torch.randint(256, (clips, 3, ROWS * CELL, COLUMNS * CELL), generator=g).byte(),
        rgb_mask=torch.rand(clips, ROWS, COLUMNS, generator=g) > 0.2,
    )
    if absent:
        inputs['body_mask'][::2, 1] = False
        inputs['rgb_mask'][1] = False
        inputs['hand_mask'][2] = False
        inputs['body_mask'][3] = False
        for name in MODALITIES[1:]:
            inputs[f'{name}_mask'][4] = False
    samples = [
        ActionDataSample(metainfo=dict(clip_id=f'c{i}')).set_gt_label(i % 6) for i in range(clips)
    ]
    return inputs, samples


def data(inputs, samples, clips=None):
    clips = range(len(samples)) if clips is None else clips
    return dict(
        inputs={name: [value[i] for i in clips] for name, value in inputs.items()},
        data_samples=[samples[i] for i in clips],
    )


def scores(model, inputs, samples, clips=None):
    with torch.no_grad():
        return torch.stack([s.pred_score for s in model.test_step(data(inputs, samples, clips))])


def loss(model, inputs, samples):
    ready = model.data_preprocessor(data(inputs, samples), training=True)
    return model(**ready, mode='loss')


@pytest.mark.parametrize('variant', BRANCHES)
@pytest.mark.parametrize('fusion', ['sum', 'mean_prob', 'noisy_or'])
def test_predictions_do_not_depend_on_the_batch(variant, fusion):
    model = build(variant, head=dict(fusion=fusion))
    for classifier in model.cls_head.classifiers.parameters():
        classifier.data /= 10  # no answer is saturated
    inputs, samples = batch()
    loss(model, inputs, samples)  # gives the batch norms real statistics
    model.eval()
    whole = scores(model, inputs, samples)
    order = torch.randperm(8).tolist()
    torch.testing.assert_close(
        scores(model, inputs, samples, order), whole[order], atol=1e-5, rtol=0
    )
    for i in range(8):
        torch.testing.assert_close(
            scores(model, inputs, samples, [i])[0], whole[i], atol=1e-5, rtol=0
        )
    assert (whole - whole[0]).abs().amax(1)[1:].min() > 1e-4  # not all the same


@pytest.mark.parametrize('variant', BRANCHES)
def test_every_parameter_learns_whatever_is_absent(variant):
    for absent in (None, *MODALITIES):
        model = build(variant)
        inputs, samples = batch()
        if absent:
            inputs[f'{absent}_mask'][:] = False
        losses = loss(model, inputs, samples)
        assert {'loss_body', 'loss_hand', 'loss_rgb', 'loss_cpl', 'top1_rgb'} <= set(losses)
        if absent:
            assert losses[f'loss_{absent}'] == 0
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []
        assert all(p.grad.isfinite().all() for p in model.parameters())
        # Without a body there is nothing to guide the attention.
        network = list(model.rgb.parameters())
        assert all(p.grad.any() for p in network) == (absent != 'rgb')


def test_losses_are_those_of_their_streams():
    model = build('B', head=dict(label_smoothing=0.0, loss_cpl=0.5)).eval()
    inputs, samples = batch()
    losses = loss(model, inputs, samples)
    ready = model.data_preprocessor(data(inputs, samples))['inputs']
    logits = {name: z[0].double() for name, z in model(ready).items()}
    target = torch.arange(8) % 6
    for name, z in logits.items():
        there = inputs[f'{name}_mask'].flatten(1).any(1)
        own = -z.log_softmax(-1)[torch.arange(8), target]
        assert not z[~there].any()
        torch.testing.assert_close(losses[f'loss_{name}'].double(), (own * there).sum() / 8)
    fused = sum(logits.values()).log_softmax(-1)[torch.arange(8), target]
    torch.testing.assert_close(losses['loss_cpl'].double(), -0.5 * fused.mean())


def test_weights_of_losses():
    plain, weighted = (
        loss(build('B', head=dict(loss_weights=w)).eval(), *batch()) for w in (None, dict(rgb=0.3))
    )
    torch.testing.assert_close(weighted['loss_rgb'], 0.3 * plain['loss_rgb'])
    assert all(torch.equal(plain[n], weighted[n]) for n in plain if n != 'loss_rgb')
    with pytest.raises(ConfigError, match='rbg'):
        build('B', head=dict(loss_weights=dict(rbg=1)))


def test_uncoupled_pictures_leave_the_fused_loss_to_the_skeletons():
    model = build('B', head=dict(coupled=('body', 'hand'), loss_nor=0.1))
    losses = loss(model, *batch())
    for name, reached in (('loss_cpl', False), ('loss_nor', False), ('loss_rgb', True)):
        grads = torch.autograd.grad(
            losses[name], list(model.rgb.parameters()), allow_unused=True, retain_graph=True
        )
        assert any(g is not None and bool(g.any()) for g in grads) == reached


@pytest.mark.parametrize('detach', [True, False])
def test_guidance_and_the_body_expert(detach):
    model = build('B')
    model.rgb.guide.detach = detach
    losses = loss(model, *batch())
    body = list(model.backbone.experts['body'].parameters())
    grads = torch.autograd.grad(losses['loss_rgb'], body, allow_unused=True)
    assert any(g is not None and bool(g.any()) for g in grads) == (not detach)


def test_the_body_guides_the_pictures():
    model = build('B').eval()
    inputs, samples = batch(absent=False)
    first = model.data_preprocessor(data(inputs, samples))['inputs']
    inputs['body'] = torch.randn_like(inputs['body'])
    second = model.data_preprocessor(data(inputs, samples))['inputs']
    inputs['body_mask'][:] = False
    third = model.data_preprocessor(data(inputs, samples))['inputs']
    guide, model.rgb.guide = model.rgb.guide, None
    unguided = model.data_preprocessor(data(inputs, samples))['inputs']
    with torch.no_grad():
        plain = model(unguided)['rgb'][0]
        model.rgb.guide = guide
        guided = [model(x)['rgb'][0] for x in (first, second, third)]
    assert not torch.allclose(guided[0], guided[1], atol=1e-4)
    torch.testing.assert_close(guided[2], plain)  # no body: no weight


@pytest.mark.parametrize('fusion', ['sum', 'mean_prob', 'noisy_or', 'body', 'hand', 'rgb'])
def test_any_modality_may_be_absent(fusion):
    model = build('P', head=dict(fusion=fusion)).eval()
    inputs, samples = batch(absent=False)
    for absent in MODALITIES:
        some = {k: v.clone() for k, v in inputs.items()}
        some[f'{absent}_mask'][:] = False
        found = scores(model, some, samples)
        torch.testing.assert_close(found.sum(-1), torch.ones(8))
        if fusion == absent:
            torch.testing.assert_close(found, torch.full((8, 6), 1 / 6))
        else:
            assert found.std(-1).min() > 1e-3


def test_without_pictures_it_is_the_skeleton_model():
    model = build('P')
    plain = build('P', type='BHaRNet')
    state = {k: v for k, v in model.state_dict().items() if 'rgb' not in k}
    state.pop('cls_head.fusion_weight')  # one for each modality, and they are equal here
    plain.load_state_dict(state)
    model.eval(), plain.eval()
    inputs, samples = batch()
    inputs['rgb_mask'][:] = False
    expected = scores(plain, inputs, samples)
    assert torch.equal(scores(model, inputs, samples), expected)
    none = {k: v for k, v in inputs.items() if 'rgb' not in k}
    assert torch.equal(scores(model, none, samples), expected)
    with pytest.raises(ConfigError, match='training batch without rgb.*CutRegions'):
        loss(model.train(), none, samples)


def test_body_and_pictures_without_a_hand_expert():
    model = build('B', hand=False)
    losses = loss(model, *batch())
    assert {k for k in losses if 'loss' in k} == {'loss_body', 'loss_rgb', 'loss_cpl'}
    assert scores(model.eval(), *batch()).shape == (8, 6)


@pytest.fixture
def checkpoint(tmp_path):
    """Trained skeleton experts, saved as a runner does."""
    torch.manual_seed(7)
    model = build('P', type='BHaRNet')
    for p in model.parameters():
        p.data += 0.05 * torch.randn_like(p)
    loss(model, *(batch(absent=False)))
    path = tmp_path / 'experts.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return path, model


def test_frozen_experts_stay_as_they_were_trained(checkpoint):
    path, trained = checkpoint
    model = build('P', experts_checkpoint=str(path), freeze_experts=True)
    model.init_weights()
    wrapper = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    inputs, samples = batch()
    for _ in range(2):
        model.train()
        losses = loss(model, inputs, samples)
        assert {k for k in losses if 'loss' in k} == {'loss_rgb', 'loss_cpl'}
        wrapper.zero_grad()
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        wrapper.step()
    after, before = model.state_dict(), trained.state_dict()
    before.pop('cls_head.fusion_weight')  # M has one more
    assert all(torch.equal(after[name], value) for name, value in before.items())
    fresh = build('P').state_dict()
    moved = [n for n, v in after.items() if 'rgb' in n and not torch.equal(v, fresh[n])]
    assert any('running_mean' in n for n in moved) and any('classifiers.rgb' in n for n in moved)


def test_experts_may_start_from_a_checkpoint_and_go_on_learning(checkpoint):
    path, trained = checkpoint
    model = build('P', experts_checkpoint=str(path))
    model.init_weights()
    state = model.state_dict()
    before = trained.state_dict()
    before.pop('cls_head.fusion_weight')  # M has one more
    assert all(torch.equal(state[name], value) for name, value in before.items())
    losses = loss(model, *batch())
    assert {'loss_body', 'loss_hand', 'loss_rgb'} <= set(losses)
    assert all(p.requires_grad for p in model.parameters())


def test_experts_that_do_not_fit_are_named(checkpoint, tmp_path):
    path, _ = checkpoint
    with pytest.raises(ConfigError, match=r'experts.pth.*cls_head.*missing or of another shape'):
        build('P', experts_checkpoint=str(path), head=dict(num_classes=7)).init_weights()
    with pytest.raises(ConfigError, match='without experts'):
        build('P', freeze_experts=True).init_weights()
    # Whatever runs code when it is unpickled is not read.
    evil = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={}, other=print), evil)
    with pytest.raises(Exception, match='(?i)weights_only|unsupported'):
        build('P', experts_checkpoint=str(evil)).init_weights()


def test_head_without_pictures_is_refused():
    with pytest.raises(ConfigError, match="'rgb' among them"):
        build('B', head=dict(modalities=('body', 'hand')))


def test_metric_and_score_file_report_the_pictures(tmp_path):
    model = build('B').eval()
    inputs, samples = batch()
    with torch.no_grad():
        found = model.test_step(data(inputs, samples))
    metric = BodyHandMetric(scores_file=str(tmp_path / 'scores.npz'))
    metric.dataset_meta = dict(classes=[f'class {i}' for i in range(6)])
    metric.process(None, [s.to_dict() for s in found])
    values = metric.compute_metrics(metric.results)
    saved = load_scores(tmp_path / 'scores.npz')
    assert {'body', 'hand', 'rgb', 'fused', 'pred'} == set(saved.logits)
    logits = torch.stack([s.rgb_logits for s in found])
    assert values['rgb_top1'] == (logits.argmax(-1) == torch.arange(8) % 6).float().mean()
    assert not saved.logits['rgb'][1].any()


def test_preprocessor_normalises_pictures():
    model = build('B')
    inputs, samples = batch()
    ready = model.data_preprocessor(data(inputs, samples))['inputs']
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    torch.testing.assert_close(ready['rgb'], (inputs['rgb'].float() - mean) / std)
    assert ready['rgb_mask'].dtype == torch.bool
