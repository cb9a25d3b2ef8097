"""Features with several readers."""

import pytest
import torch

from bharnet_mm.ops.operator import plain_form
from bharnet_mm.ops.shared import shared


@pytest.mark.parametrize('used', [0, 1, 2, 3])
def test_gradients_of_the_readers_are_added(used):
    x = torch.randn(2, 3, 4, requires_grad=True)
    readers = shared(x, 3)
    assert all(torch.equal(reader, x) for reader in readers)
    total = x.sum() * 0 + sum((i + 1) * reader.sum() for i, reader in enumerate(readers[:used]))
    total.backward()
    assert torch.equal(x.grad, torch.full_like(x, sum(range(used + 1))))


def test_without_a_gradient_nothing_is_recorded():
    x = torch.randn(2, 3)
    assert all(reader is x for reader in shared(x, 2))
    x.requires_grad_()
    with torch.no_grad():
        assert all(reader is x for reader in shared(x, 2))
    with plain_form():
        assert all(reader is x for reader in shared(x, 2))
