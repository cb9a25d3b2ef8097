import contextlib

import pytest
import torch

from bharnet_mm.errors import ConfigError
from bharnet_mm.models import PoolingAttention, pack
from bharnet_mm.models.attention import AXES, CrossAttention
from bharnet_mm.ops import plain_form
from bharnet_mm.ops.pooling import axis_tokens


def features(seed=0, clips=3, hands=4):
    """Features of bodies and hands; the last clip has no hand."""
    g = torch.Generator().manual_seed(seed)
    body_mask, hand_mask = (
        torch.rand(clips, 2, 8, generator=g) > 0.3,
        torch.rand(clips, hands, 8, generator=g) > 0.6,
    )
    body_mask[0, 1] = False
    hand_mask[-1] = False
    return (
        pack(torch.randn(clips, 2, 8, 25, 16, generator=g), body_mask),
        pack(torch.randn(clips, hands, 8, 21, 32, generator=g), hand_mask),
    )


def attention(**kwargs):
    return PoolingAttention(
        16, 32, body_joints=25, num_frames=8, embed_dims=8, num_heads=2, **kwargs
    )


def trained(module):
    """As after training: an output projection that is not zero."""
    g = torch.Generator().manual_seed(3)
    for name, p in module.named_parameters():
        if name.endswith('out.weight'):
            p.data = torch.randn(p.shape, generator=g)
    return module


def test_equals_average_pooling_at_initialisation():
    body, hand = features()
    for axes in (AXES, ('frame',), ('joint',), ('instance',)):
        out = attention(axes=axes)(body, hand)
        torch.testing.assert_close(out[0], body.pool())
        torch.testing.assert_close(out[1], hand.pool())


def test_axis_tokens_against_loops():
    _, hand = features()
    x = hand.unpack(hand.x).permute(0, 1, 4, 3, 2)  # (N, I, T, V, C)
    mask = hand.unpack(hand.mask)
    all_tokens, weights = axis_tokens(hand.x, hand.mask, hand.clip, hand.slot, 3, 4, 23)
    for n in range(3):
        for axis, length in (('frame', 8), ('joint', 21), ('instance', 4)):
            tokens, weight = (t[AXES.index(axis)] for t in (all_tokens, weights))
            assert tokens.shape == (3, 23, 32)
            assert not tokens[:, length:].any() and not weight[:, length:].any()
            for i in range(length):
                if axis == 'frame':
                    part, seen = x[n, :, i], mask[n, :, i]
                elif axis == 'joint':
                    part, seen = x[n, :, :, i : i + 1], mask[n]
                else:
                    part, seen = x[n, i], mask[n, i]
                assert weight[n, i] == seen.sum()
                expected = part[seen].flatten(0, -2).mean(0) if seen.any() else torch.zeros(32)
                torch.testing.assert_close(tokens[n, i], expected, rtol=1e-5, atol=1e-6)


def test_cross_attention_by_hand():
    torch.manual_seed(0)
    layer = trained(CrossAttention(6, 10, 8, 2, length=3, other_length=4))
    x, other = torch.randn(1, 3, 6), torch.randn(1, 4, 10)
    weight = torch.tensor([[1.0, 0.0, 2.0, 1.0]])
    q = (layer.norm(x) + layer.position) @ layer.query.weight.t()
    k, v = ((layer.other_norm(other) + layer.other_position) @ layer.key_value.weight.t()).chunk(
        2, -1
    )
    heads = []
    for h in (slice(0, 4), slice(4, 8)):
        score = q[0, :, h] @ k[0, :, h].t() / 2
        score[:, 1] = -float('inf')
        heads.append(score.softmax(-1) @ v[0, :, h])
    expected = x + torch.cat(heads, -1) @ layer.out.weight.t()
    torch.testing.assert_close(layer(x, other, weight), expected)


@pytest.mark.parametrize('channels', [16, 32])
@pytest.mark.parametrize('axes', [AXES, ('frame', 'instance'), ('joint',)])
def test_all_layers_together_equal_layer_by_layer(axes, channels):
    """Outputs and all gradients, with equal widths of body and hand and with different ones."""
    torch.manual_seed(0)
    body, hand = features()
    module = PoolingAttention(
        channels, 32, body_joints=25, num_frames=6, embed_dims=8, num_heads=2, axes=axes
    ).double()
    for p in module.parameters():
        torch.nn.init.normal_(p)
    results = []
    for plain in (False, True):
        leaves = [torch.cat([body.x] * (channels // 16), 1), hand.x]
        leaves = [x.double().requires_grad_() for x in leaves]
        pair = body.with_features(leaves[0]), hand.with_features(leaves[1])
        with plain_form() if plain else contextlib.nullcontext():
            out = module(*pair)
        module.zero_grad()
        sum((y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum() for y in out).backward()
        results.append([*out, *(p.grad for p in (*leaves, *module.parameters()))])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_looks_at_the_other_stream_and_not_past_masks():
    body, hand = features()
    module = trained(attention())
    out = module(body, hand)
    changed = module(body, hand.with_features(hand.x + torch.randn_like(hand.x)))[0]
    differs = (changed - out[0]).abs().amax(1) > 1e-4
    assert differs.tolist() == [True, True, False]  # the last clip has no hand to look at
    assert not out[1][2].any()
    hidden = hand.x.masked_fill(~hand.mask[:, None, None], 0.0)
    assert torch.equal(
        module(body, hand.with_features(hidden))[0],
        module(body, hand.with_features(hand.x.masked_fill(~hand.mask[:, None, None], 7.0)))[0],
    )


def test_does_not_depend_on_the_batch_or_on_the_order_of_hands():
    module = trained(attention()).eval()
    g = torch.Generator().manual_seed(1)
    body_x, hand_x = (
        torch.randn(4, 2, 8, 25, 16, generator=g),
        torch.randn(4, 4, 8, 21, 32, generator=g),
    )
    body_mask, hand_mask = (
        torch.rand(4, 2, 8, generator=g) > 0.3,
        torch.rand(4, 4, 8, generator=g) > 0.6,
    )
    hand_mask[2] = False
    whole = module(pack(body_x, body_mask), pack(hand_x, hand_mask))
    for n in range(4):
        one = module(
            pack(body_x[n : n + 1], body_mask[n : n + 1]),
            pack(hand_x[n : n + 1], hand_mask[n : n + 1]),
        )
        for a, b in zip(one, whole, strict=True):
            torch.testing.assert_close(a[0], b[n], rtol=1e-5, atol=1e-5)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = module(pack(body_x, body_mask), pack(hand_x[:, order], hand_mask[:, order]))
    for a, b in zip(shuffled, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_other_clip_lengths_interpolate_the_frame_positions():
    body, hand = features()
    module = trained(attention())
    out = module(body.with_features(body.x[..., ::2]), hand.with_features(hand.x[..., ::2]))
    assert out[0].shape == (3, 16) and torch.isfinite(out[0]).all()


def test_size_at_the_default_width():
    module = PoolingAttention(256, 256, body_joints=25)
    projections = sum(
        p.numel() for n, p in module.named_parameters() if p.dim() == 2 and 'position' not in n
    )
    assert projections == 6 * 4 * 256 * 64  # 0.39 M


def test_bad_axes():
    with pytest.raises(ConfigError, match='axes'):
        attention(axes=('time',))


@pytest.mark.parametrize('axes', [AXES, ('frame',), ('joint', 'instance')])
@pytest.mark.parametrize('form', [contextlib.nullcontext, plain_form])
def test_alone_is_what_a_stream_gives_without_the_other(axes, form):
    """The second result is the plain average, and what the module gives if the other stream has no
    instance.
    """
    body, hand = features()
    module = trained(attention(axes=axes))
    with form():
        attended = module(body, hand)
        both = module(body, hand, alone=True)
        without_hand = module(body, pack(torch.zeros(3, 4, 8, 21, 32), torch.zeros(3, 4, 8) > 0))
        without_body = module(pack(torch.zeros(3, 2, 8, 25, 16), torch.zeros(3, 2, 8) > 0), hand)
    lost = without_hand[0], without_body[1]
    for got, with_other, own, without in zip(both, attended, (body, hand), lost, strict=True):
        torch.testing.assert_close(got[0], with_other)
        torch.testing.assert_close(got[1], own.pool())
        torch.testing.assert_close(got[1], without)
        assert not torch.allclose(got[0][0], got[1][0], atol=1e-2)
    # the last clip has no hands, so its body is alone already
    torch.testing.assert_close(both[0][0][2], both[0][1][2])
