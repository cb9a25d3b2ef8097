import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

import bharnet_mm  # noqa: F401
from bharnet_mm.errors import ConfigError

VARIANTS = {
    'B': dict(num_stream=1, split_at=0, branches=('vanilla',)),
    'P': dict(num_stream=1, split_at=0, branches=('interactive',)),
    'E': dict(num_stream=2, split_at=3, branches=('interactive', 'expertized')),
}


def build(variant, **backbone):
    torch.manual_seed(0)
    spec = VARIANTS[variant]
    net = dict(
        type='DeGCN', base_channels=16, num_stream=spec['num_stream'], split_at=spec['split_at']
    )
    attention = (
        dict(body_joints=25, num_frames=4, embed_dims=8, num_heads=2) if variant != 'B' else None
    )
    model = MODELS.build(
        dict(
            type='BHaRNet',
            backbone=dict(
                type='BodyHandBackbone',
                body=net | dict(layout='kinect_v2'),
                hand=net | dict(layout='hand'),
            )
            | backbone,
            cls_head=dict(
                type='BHaRNetHead',
                num_classes=5,
                in_channels=64,
                branches=spec['branches'],
                attention=attention,
            ),
        )
    )
    for (
        name,
        p,
    ) in model.named_parameters():  # as after training: nothing that starts at zero hides a path
        if name.endswith(('out.weight', 'alpha')):
            torch.nn.init.normal_(p, std=0.5)
    return model


def batch(clips=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    inputs = dict(
        body=torch.randn(clips, 2, 16, 25, 3, generator=g),
        body_mask=torch.rand(clips, 2, 16, generator=g) > 0.2,
        hand=torch.randn(clips, 4, 16, 21, 3, generator=g),
        hand_mask=torch.rand(clips, 4, 16, generator=g) > 0.5,
    )
    inputs['body_mask'][::2, 1] = False
    inputs['hand_mask'][:, 3] = False
    inputs['hand_mask'][clips - 1] = False
    samples = [
        ActionDataSample(metainfo=dict(clip_id=f'c{i}')).set_gt_label(i % 5) for i in range(clips)
    ]
    return inputs, samples


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('filler', [float('nan'), float('inf'), 1e6])
def test_masked_coordinates_do_not_move_the_output_by_one_bit(variant, training, filler):
    inputs, samples = batch()
    outputs = []
    for dirty in (False, True):
        if dirty:
            for name in ('body', 'hand'):
                inputs[name] = inputs[name].masked_fill(
                    ~inputs[f'{name}_mask'][..., None, None], filler
                )
        model = build(variant).train(training)
        losses = model(inputs, samples, mode='loss')
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        outputs.append(
            [
                *losses.values(),
                *(z for logits in model(inputs).values() for z in logits),
                *(p.grad for p in model.parameters()),
                *model.buffers(),
            ]
        )
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    assert all(torch.isfinite(a).all() for a in outputs[1])


@pytest.mark.parametrize('variant', VARIANTS)
def test_predictions_do_not_depend_on_the_batch(variant):
    model = build(variant)
    inputs, samples = batch(8)
    model(inputs, samples, mode='loss')  # gives the batch norms real statistics
    model.eval()
    with torch.no_grad():
        whole = torch.stack([s.pred_score for s in model(inputs, samples, mode='predict')])
        order = torch.randperm(8)
        shuffled = {k: v[order] for k, v in inputs.items()}
        assert torch.allclose(
            torch.stack([s.pred_score for s in model(shuffled, samples, mode='predict')]),
            whole[order],
            atol=1e-5,
        )
        for i in range(8):
            alone = model(
                {k: v[i : i + 1] for k, v in inputs.items()}, samples[:1], mode='predict'
            )[0].pred_score
            assert torch.allclose(alone, whole[i], atol=1e-5)


@pytest.mark.parametrize('variant', VARIANTS)
def test_every_parameter_learns_even_without_hands(variant):
    model = build(variant)
    inputs, samples = batch()
    inputs['hand_mask'][:] = False
    losses = model(inputs, samples, mode='loss')
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    # A gradient for each parameter, zero or not: distributed training waits for all of them.
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_stock_network_as_an_expert():
    import mmaction.models  # noqa: F401

    model = build(
        'B',
        body=dict(
            type='STGCN', graph_cfg=dict(layout='nturgb+d', mode='stgcn_spatial'), base_channels=16
        ),
    )
    inputs, samples = batch()
    assert torch.isfinite(model(inputs, samples, mode='loss')['loss_body'])


def test_preprocessor_names_the_clip_that_does_not_fit():
    model = build('B')
    clips = [dict(body=torch.zeros(2, t, 25, 3)) for t in (16, 12)]
    samples = [ActionDataSample(metainfo=dict(clip_id=f'c{i}')) for i in range(2)]
    data = dict(inputs=dict(body=[c['body'] for c in clips]), data_samples=samples)
    with pytest.raises(ConfigError, match=r"'c1'.*\(2, 12, 25, 3\).*SampleWindow"):
        model.data_preprocessor(data)


def test_backbone_needs_an_expert():
    with pytest.raises(ConfigError, match='at least one'):
        MODELS.build(dict(type='BodyHandBackbone'))


@pytest.mark.parametrize('feature', ['bone', 'joint_motion', 'bone_motion'])
def test_feature_is_made_in_the_model_from_visible_frames(feature):
    from bharnet_mm.features import make_feature
    from bharnet_mm.layouts import get_layout

    inputs, _ = batch()
    plain, other = build('P').eval(), build('P', feature=feature).eval()
    other.load_state_dict(plain.state_dict())
    given = {}
    for name, layout in (('body', 'kinect_v2'), ('hand', 'hand')):
        parents = torch.tensor(get_layout(layout).parent_index)
        x, mask = make_feature(inputs[name], inputs[f'{name}_mask'], parents, feature)
        given |= {name: x, f'{name}_mask': mask}
    for name, logits in other(inputs).items():
        assert torch.equal(logits[0], plain(given)[name][0])


def test_bones_need_a_layout():
    body = dict(type='STGCN', graph_cfg=dict(layout='nturgb+d', mode='stgcn_spatial'))
    with pytest.raises(ConfigError, match='no layout'):
        build('B', body=body, feature='bone')
