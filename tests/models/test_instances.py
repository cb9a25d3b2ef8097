import pytest
import torch

from bharnet_mm.models import BHaRNetHead, BodyHandBackbone
from bharnet_mm.models.instances import bucket, every_slot, nearest_visible, pack
from bharnet_mm.ops import plain_form


def test_nearest_visible():
    mask = torch.tensor(
        [[0, 0, 1, 0, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 1]],
        dtype=torch.bool,
    )
    expected = [[2, 2, 2, 2, 2, 6, 6, 6], list(range(8)), [7] * 8]
    assert nearest_visible(mask).tolist() == expected


def test_pack_keeps_present_instances_in_order_and_never_reads_masked_entries():
    x = torch.randn(3, 2, 5, 4, 3)
    mask = torch.ones(3, 2, 5, dtype=torch.bool)
    mask[0, 1] = False
    mask[2] = False
    mask[1, 0, 2:] = False
    dirty = x.masked_fill(~mask[..., None, None], float('nan'))
    packed = pack(dirty, mask)
    assert packed.clip.tolist() == [0, 1, 1] and packed.slot.tolist() == [0, 0, 1]
    assert packed.present().tolist() == [True, True, False]
    assert torch.equal(packed.x[0], x[0, 0].permute(2, 1, 0))
    assert torch.equal(packed.x[1, :, :, 3], x[1, 0, 1].t())
    dense = packed.unpack(packed.x[:, :, 0, 0])
    assert (
        dense.shape == (3, 2, 3)
        and not dense[0, 1].any()
        and torch.equal(dense[1, 1], x[1, 1, 0, 0])
    )


def test_pool_is_the_mean_over_what_is_visible():
    torch.manual_seed(0)
    x, mask = torch.randn(4, 3, 6, 5, 2), torch.rand(4, 3, 6) > 0.4
    mask[3] = False
    pooled = pack(x, mask).pool()
    for n in range(3):
        torch.testing.assert_close(pooled[n], x[n][mask[n]].mean((0, 1)))
    assert not pooled[3].any()


def test_mask_follows_a_temporal_stride():
    mask = torch.tensor([[[1, 0, 0, 0, 0, 0, 1]]], dtype=torch.bool)
    packed = pack(torch.randn(1, 1, 7, 2, 3), mask)
    assert packed.with_features(packed.x[..., ::4]).mask.tolist() == [[True, True]]
    assert packed.with_features(packed.x[..., ::2]).mask.tolist() == [[True, False, False, True]]


def padded_batch(dtype=torch.float64):
    """Three clips: two instances and one, and none; masked entries are not numbers."""
    torch.manual_seed(1)
    x = torch.randn(3, 2, 5, 4, 3, dtype=dtype)
    mask = torch.rand(3, 2, 5) > 0.3
    mask[0, 0, 1], mask[0, 1, 2], mask[1, 0] = True, True, False
    mask[1, 1, 3], mask[2] = True, False
    return x.masked_fill(~mask[..., None, None], float('nan')), mask


@pytest.mark.parametrize('rows', [3, 4, 6])
def test_padding_changes_nothing(rows):
    x, mask = padded_batch()
    exact, padded = pack(x, mask), pack(x, mask, rows)
    assert len(padded.x) == rows and int(padded.count) == len(exact.x) == 3
    for name in ('x', 'mask', 'clip', 'slot'):
        assert torch.equal(getattr(padded, name)[:3], getattr(exact, name))
    assert not padded.x[3:].any() and not padded.mask[3:].any()
    assert torch.equal(padded.present(), exact.present())
    assert torch.equal(padded.pool(), exact.pool())
    # Whatever an expert makes of the padding is not read, and gets no gradient.
    values = torch.randn(rows, 7, dtype=x.dtype, requires_grad=True)
    dense = padded.unpack(values)
    assert torch.equal(dense, exact.unpack(values[:3]))
    dense.square().sum().backward()
    assert values.grad[:3].all() and not values.grad[3:].any()


def test_padding_where_nothing_is_present():
    x, mask = padded_batch()
    padded = pack(x, torch.zeros_like(mask), 2)
    assert int(padded.count) == 0 and not padded.x.any()
    assert not padded.present().any() and not padded.pool().any()


def test_too_few_rows_are_refused():
    x, mask = padded_batch()
    with pytest.raises(RuntimeError, match='more than 2 present instances'):
        pack(x, mask, 2)


def test_buckets():
    assert [bucket(n, 4) for n in (0, 1, 8, 9, 11, 16, 17, 21, 64, 65)] == [
        1, 1, 8, 10, 12, 16, 20, 24, 64, 80,
    ]  # fmt: skip
    sizes = {bucket(n, 8) for n in range(65, 129)}
    assert sizes == set(range(72, 129, 8))
    assert all(n <= bucket(n, 8) <= n * 9 / 8 + 1 for n in range(1, 500))


def test_every_slot_gives_what_the_packed_form_gives():
    x, mask = padded_batch()
    packed = pack(x, mask)
    with every_slot():
        dense = pack(x, mask)
    assert len(dense.x) == 6 and dense.x.isfinite().all()
    torch.testing.assert_close(dense.unpack(dense.x), packed.unpack(packed.x))
    assert torch.equal(dense.unpack(dense.mask), packed.unpack(packed.mask))
    assert torch.equal(dense.present(), packed.present())
    torch.testing.assert_close(dense.pool(), packed.pool())
    strided = [i.with_features(i.x[..., ::2], 2) for i in (packed, dense)]
    assert torch.equal(*(i.unpack(i.mask) for i in strided))
    assert type(pack(x, mask)) is type(packed), 'the switch is left on'


@pytest.mark.parametrize(
    'branches', [('vanilla',), ('interactive',), ('interactive', 'expertized')]
)
@pytest.mark.parametrize('fusion', ['sum', 'mean_prob', 'noisy_or'])
def test_a_model_answers_the_same_with_every_slot(branches, fusion):
    torch.manual_seed(0)
    network = dict(type='DeGCN', base_channels=16, num_blocks=2, widen_at=(2,), stride_at=(2,))
    network |= dict(num_stream=len(branches))
    backbone = BodyHandBackbone(dict(layout='coco', **network), dict(layout='hand', **network))
    attention = dict(body_joints=17, num_frames=4, embed_dims=16)
    head = BHaRNetHead(5, 32, branches=branches, attention=attention, fusion=fusion)
    for module in (backbone, head):
        module.eval()
        for parameter in module.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    mask = torch.rand(5, 6, 9) > 0.4
    mask[0, :2] = mask[1, 2:] = mask[2, 3] = mask[4] = False
    inputs = dict(body=torch.randn(5, 2, 9, 17, 3), hand=torch.randn(5, 4, 9, 21, 3))
    inputs |= dict(body_mask=mask[:, :2], hand_mask=mask[:, 2:])
    with torch.no_grad():
        packed = head.answers(backbone(inputs))
        with every_slot(), plain_form():
            dense = head.answers(backbone(inputs))
    assert packed.keys() == dense.keys() and packed['pred_score'].std() > 0
    for name in packed:
        torch.testing.assert_close(dense[name], packed[name], atol=1e-5, rtol=1e-4)
