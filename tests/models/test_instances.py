import torch

from bharnet_mm.models.instances import nearest_visible, pack


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
