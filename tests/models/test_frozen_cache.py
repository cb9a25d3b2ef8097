"""The cache gives what the network gives, and knows when it must not."""

import copy
import pickle

import pytest
import torch
from torch import nn

from bharnet_mm.models.frozen_cache import FrozenCache


class Counting(nn.Module):
    """A network with batch statistics that counts the images it gets."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.count = 0

    def encode(self, x):
        self.count += len(x)
        return self.layers(x).mean((2, 3))


def frozen():
    network = Counting().requires_grad_(False)
    network.layers[1].eval()
    network.layers[1].train = lambda mode=True: network.layers[1]
    return network


def test_each_image_is_encoded_once():
    network, cache = frozen(), FrozenCache(1 << 20)
    x = torch.randn(6, 3, 8, 8)
    plain = network.encode(x)
    for choice in ([0, 1, 2], [2, 1, 3], [5, 3, 3, 0, 4], range(6)):
        found = cache(network.encode, network, x[list(choice)])
        torch.testing.assert_close(found, plain[list(choice)])
    assert network.count == 6 + 6 and len(cache) == 6
    almost = x[:1].clone()
    almost[0, 0, 0, 0] = torch.nextafter(almost[0, 0, 0, 0], torch.tensor(9.0))
    cache(network.encode, network, almost)
    assert network.count == 13  # one bit makes another image


def test_other_weights_sizes_and_precisions_empty_it():
    network, cache = frozen(), FrozenCache(1 << 20)
    x = torch.randn(2, 3, 8, 8)
    cache(network.encode, network, x)
    network.layers.load_state_dict({k: v + 1 for k, v in network.layers.state_dict().items()})
    torch.testing.assert_close(cache(network.encode, network, x), network.encode(x))
    cache(network.encode, network, torch.randn(1, 3, 6, 6))
    assert len(cache) == 1
    with torch.autocast('cpu', torch.bfloat16):
        assert cache(network.encode, network, x).dtype == torch.bfloat16
    assert cache(network.encode, network, x).dtype == torch.float32


def test_it_keeps_nothing_of_a_network_that_changes_or_is_only_used():
    x = torch.randn(2, 3, 8, 8)
    trained, in_use, statistics = frozen().requires_grad_(True), frozen().eval(), frozen()
    statistics.layers[1].training = True
    for network in (trained, in_use, statistics):
        cache = FrozenCache(1 << 20)
        for _ in range(2):
            cache(network.encode, network, x)
        assert network.count == 4 and not len(cache)


def test_it_does_not_grow_beyond_its_size():
    network, cache = frozen(), FrozenCache(3 * 4 * 4)
    x = torch.randn(6, 3, 8, 8)
    for _ in range(2):
        torch.testing.assert_close(cache(network.encode, network, x), network.encode(x))
    assert len(cache) == 3


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_are_empty(copied):
    network, cache = frozen(), FrozenCache(1 << 20)
    cache(network.encode, network, torch.randn(2, 3, 8, 8))
    other = copied(cache)
    assert len(cache) == 2 and not len(other) and other.size == cache.size
