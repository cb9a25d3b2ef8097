import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

import bharnet_mm  # noqa: F401
from bharnet_mm.errors import ConfigError
from bharnet_mm.models import BHaRNetHead, pack

ATTENTION = dict(body_joints=25, num_frames=4, embed_dims=8, num_heads=2)
VARIANTS = {
    'B': dict(branches=('vanilla',)),
    'B, two streams': dict(branches=('vanilla', 'vanilla')),
    'P': dict(branches=('interactive',), attention=ATTENTION),
    'E': dict(branches=('interactive', 'expertized'), attention=ATTENTION),
}


def head(variant='B', **kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(type='BHaRNetHead', num_classes=6, in_channels=16) | VARIANTS[variant] | kwargs
    )


def features(streams, clips=4):
    """Body and hand features that can be differentiated; the last clip has no hand."""
    g = torch.Generator().manual_seed(0)
    hand_mask = torch.ones(clips, 2, 4, dtype=torch.bool)
    hand_mask[-1] = False
    result = {}
    for name, joints, mask in (
        ('body', 25, torch.ones(clips, 1, 4, dtype=torch.bool)),
        ('hand', 21, hand_mask),
    ):
        result[name] = []
        for _ in range(streams):
            instances = pack(torch.randn(clips, mask.size(1), 4, joints, 16, generator=g), mask)
            instances.x.requires_grad_()
            result[name].append(instances)
    return result


def samples(labels=(0, 1, 2, 3)):
    return [
        ActionDataSample(metainfo=dict(clip_id=f'clip{i}')).set_gt_label(k)
        for i, k in enumerate(labels)
    ]


def smoothed(z, target, epsilon=0.1):
    log_p = z.double().log_softmax(-1)
    return -(1 - epsilon) * log_p.gather(1, target[:, None])[:, 0] - epsilon * log_p.mean(-1)


@pytest.mark.parametrize('variant', VARIANTS)
def test_loss_values(variant):
    module = head(variant, loss_cpl=0.5, loss_nor=0.1)
    module.eval()
    f = features(len(VARIANTS[variant]['branches']))
    target = torch.arange(4)
    logits = module(f)
    present = {'body': torch.ones(4), 'hand': torch.tensor([1.0, 1, 1, 0])}
    losses = module.loss(f, samples())
    for name in ('body', 'hand'):
        supervised = logits[name][:1] if variant == 'E' else logits[name]
        terms = [sum(supervised)] + (supervised if len(supervised) > 1 else [])
        expected = sum((smoothed(z, target) * present[name]).sum() / 4 for z in terms)
        torch.testing.assert_close(losses[f'loss_{name}'].double(), expected)
    fused = sum(sum(z) for z in logits.values())
    torch.testing.assert_close(losses['loss_cpl'].double(), 0.5 * smoothed(fused, target).mean())
    members = [
        (z, present[n]) for n in logits for z in (logits[n] if variant == 'E' else [sum(logits[n])])
    ]
    assert len(members) == (4 if variant == 'E' else 2)
    denied = 1
    for z, seen in members:
        denied = denied * (1 - seen * z.double().softmax(-1)[torch.arange(4), target])
    torch.testing.assert_close(losses['loss_nor'].double(), -0.1 * (1 - denied).log().mean())


def test_expertized_branches_learn_from_the_fused_losses_only():
    module = head('E', loss_cpl=1.0, loss_nor=0.1)
    for terms, reached in (
        (('loss_body', 'loss_hand'), False),
        (('loss_cpl',), True),
        (('loss_nor',), True),
    ):
        f = features(2)
        losses = module.loss(f, samples())
        parameters = [
            p for name in ('body', 'hand') for p in module.classifiers[name][1].parameters()
        ]
        inputs = parameters + [f[name][1].x for name in ('body', 'hand')]
        grads = torch.autograd.grad(sum(losses[t] for t in terms), inputs, allow_unused=True)
        assert all((g is not None and bool(g.abs().sum() > 0)) == reached for g in grads), terms


def test_attention_couples_the_interactive_branches_only():
    module = head('E')
    for p in module.attentions[0].parameters():
        torch.nn.init.normal_(p)
    f = features(2)
    logits = module(f)
    for branch, coupled in ((0, True), (1, False)):
        grad = torch.autograd.grad(
            logits['body'][branch].sum(), f['hand'][branch].x, allow_unused=True, retain_graph=True
        )[0]
        assert (grad is not None and bool(grad.abs().sum() > 0)) == coupled


@pytest.mark.parametrize('variant', VARIANTS)
def test_fusions(variant):
    f = features(len(VARIANTS[variant]['branches']))
    module = head(variant).eval()
    logits = module(f)
    body, hand = (sum(logits[n]) for n in ('body', 'hand'))
    scores = {}
    for fusion in ('sum', 'mean_prob', 'noisy_or', 'body', 'hand'):
        module.fusion = fusion
        out = module.predict(f, samples())
        scores[fusion] = torch.stack([s.pred_score for s in out])
        torch.testing.assert_close(scores[fusion].sum(-1), torch.ones(4))
        torch.testing.assert_close(torch.stack([s.body_logits for s in out]), body)
        torch.testing.assert_close(torch.stack([s.fused_logits for s in out]), body + hand)
    torch.testing.assert_close(scores['sum'], (body + hand).softmax(-1))
    torch.testing.assert_close(scores['body'], body.softmax(-1))
    torch.testing.assert_close(scores['hand'][-1], torch.full((6,), 1 / 6))
    torch.testing.assert_close(
        scores['mean_prob'][:3], (body.softmax(-1) + hand.softmax(-1))[:3] / 2
    )
    torch.testing.assert_close(scores['mean_prob'][3], body[3].softmax(-1))
    if variant == 'B':
        nor = 1 - (1 - body.softmax(-1)) * (1 - hand.softmax(-1))
        torch.testing.assert_close(scores['noisy_or'][:3], (nor / nor.sum(-1, keepdim=True))[:3])
        torch.testing.assert_close(scores['noisy_or'][3], body[3].softmax(-1))
    module.fusion, module.fusion_weights = 'sum', dict(body=0.5, hand=2.0)
    weighted = torch.stack([s.pred_score for s in module.predict(f, samples())])
    torch.testing.assert_close(weighted, (0.5 * body + 2 * hand).softmax(-1))


def test_fusion_weights_travel_with_the_checkpoint():
    f = features(1)
    fitted = head('B').eval()
    fitted.fusion_weights = dict(body=0.25, hand=1.5)
    state = fitted.state_dict()
    other = head('B').eval()
    other.load_state_dict(state)
    assert other.fusion_weights == dict(body=0.25, hand=1.5)
    torch.testing.assert_close(other.answers(f), fitted.answers(f))
    z = {name: sum(z) for name, z in other(f).items()}
    expected = (0.25 * z['body'] + 1.5 * z['hand']).softmax(-1)
    torch.testing.assert_close(other.answers(f)['pred_score'], expected)
    # the config's own weights stay
    given = head('B', fusion_weights=dict(body=2.0))
    given.load_state_dict(state)
    assert given.fusion_weights == dict(body=2.0, hand=1.0)
    # a checkpoint of an earlier version
    del state['fusion_weight']
    old = head('B')
    old.load_state_dict(state)
    assert old.fusion_weights == dict(body=1.0, hand=1.0)


def test_a_clip_without_hands_is_left_to_the_body():
    module = head('P').eval()
    logits = module(features(1))
    assert not logits['hand'][0][3].any()
    assert logits['hand'][0][:3].abs().sum() > 0


def test_one_modality_alone():
    module = head('B', modalities=('body',))
    losses = module.loss(features(1), samples())
    assert {k for k in losses if k.startswith('loss')} == {'loss_body'}


@pytest.mark.parametrize(
    'options',
    [
        dict(branches=()),
        dict(branches=('expertized',)),
        dict(branches=('other',)),
        dict(fusion='product'),
        dict(modalities=('body',), fusion='hand'),
        dict(modalities=('face',)),
        dict(branches=('interactive',)),
        dict(branches=('interactive',), attention=ATTENTION, modalities=('body',)),
    ],
)
def test_bad_options(options):
    with pytest.raises(ConfigError, match='Fix'):
        BHaRNetHead(**(dict(num_classes=3, in_channels=8) | options))


def test_wrong_labels_and_streams_are_named():
    with pytest.raises(ConfigError, match=r'clip1.*found label 6.*0 to 5.*num_classes'):
        head().loss(features(1), samples((0, 6, 1, 2)))
    with pytest.raises(ConfigError, match='num_stream'):
        head()(features(2))


def without(f, lost):
    """The same features, in clips where all instances of a modality are missing."""
    empty = [
        pack(torch.zeros(4, 2, 4, stream.x.size(2), 16), torch.zeros(4, 2, 4) > 0)
        for stream in f[lost]
    ]
    return f | {lost: empty}


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('fusion', ['sum', 'mean_prob', 'noisy_or'])
def test_an_expert_without_instances_has_no_vote(variant, fusion):
    f = features(len(VARIANTS[variant]['branches']))
    module = learned(head(variant, fusion=fusion, fusion_weights=dict(body=0.1, hand=3.0))).eval()
    answers = module.answers(without(f, 'hand'))
    assert not answers['hand_logits'].any()
    body = answers['body_logits']
    if fusion == 'sum':
        torch.testing.assert_close(answers['pred_score'], (0.1 * body).softmax(-1))
    elif fusion == 'mean_prob':
        torch.testing.assert_close(answers['pred_score'], body.softmax(-1))
    elif variant != 'E':
        torch.testing.assert_close(answers['pred_score'].argmax(-1), body.argmax(-1))
    # nothing of the hand's weights is left in the prediction
    for p in [*module.classifiers['hand'].parameters(), *module.attentions.parameters()]:
        p.data.mul_(3)
    torch.testing.assert_close(module.answers(without(f, 'hand')), answers)


def learned(module):
    """With an attention that changes the features."""
    g = torch.Generator().manual_seed(3)
    for name, p in module.attentions.named_parameters():
        if name.endswith('out.weight'):
            p.data = torch.randn(p.shape, generator=g)
    return module


@pytest.mark.parametrize('variant', VARIANTS)
def test_loss_of_an_expert_alone(variant):
    """Its value is that of the prediction for the same clips without the other modality."""
    f, target = features(len(VARIANTS[variant]['branches'])), torch.arange(4)
    module = learned(head(variant, loss_weights=dict(hand=0.5)))
    before = module.loss(f, samples())
    module.loss_alone = 2.0
    after = module.loss(f, samples())
    assert set(after) == set(before)
    torch.testing.assert_close(after['loss_cpl'], before['loss_cpl'])
    present = {'body': torch.ones(4), 'hand': torch.tensor([1.0, 1, 1, 0])}
    for name, lost, weight in (('body', 'hand', 1.0), ('hand', 'body', 0.5)):
        alone = sum(module(without(f, lost))[name])
        expected = 2 * weight * (smoothed(alone, target) * present[name]).mean()
        if variant.startswith('B'):  # its own loss says the same
            expected = torch.zeros_like(expected)
        difference = (after[f'loss_{name}'] - before[f'loss_{name}']).double()
        torch.testing.assert_close(difference, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('variant', ['P', 'E'])
def test_the_loss_alone_trains_an_expert_by_itself(variant):
    """It reaches all features of the expert, and nothing of the other or of the attention."""
    streams = len(VARIANTS[variant]['branches'])
    grads = {}
    for weight in (0.0, 1.0):
        f = features(streams)
        module = learned(head(variant, loss_alone=weight))
        inputs = [s.x for name in ('body', 'hand') for s in f[name]]
        inputs += list(module.attentions.parameters())
        got = torch.autograd.grad(module.loss(f, samples())['loss_body'], inputs, allow_unused=True)
        grads[weight] = [torch.zeros(()) if g is None else g for g in got]
    changed = [not torch.allclose(a, b) for a, b in zip(grads[0.0], grads[1.0], strict=True)]
    assert all(changed[:streams]) and not any(changed[streams:])
