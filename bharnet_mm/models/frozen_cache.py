"""Features of images that a frozen network has encoded before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


class FrozenCache:
    """Keeps what a frozen network gives for each image, by the content of the image.

    A training on a CPU with a frozen network spends most of its time on cells that it has encoded
    in an earlier epoch. Cells are recognized by their values, each of which must be the same, so
    results do not change. Cells that are jittered are new in each epoch and gain nothing.

    It works in trainings on a CPU (a GPU would have to wait for the host), if nothing in the
    network changes: no parameter is trained, and no batch statistics. It is emptied when the
    network gets other weights, or images of another size or precision. When it is full, no more
    images are added. It belongs to one process, and is neither copied nor saved with the model.

    Args:
        size (int): Bytes of features that are kept, 0 for none.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.clear()

    def clear(self) -> None:
        """Forgets all images."""
        self._known: dict[bytes, Tensor] = {}
        self._bytes = 0
        self._of: tuple = ()

    def __len__(self) -> int:
        return len(self._known)

    def __deepcopy__(self, memo: dict) -> FrozenCache:
        return type(self)(self.size)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.size,)

    def __call__(
        self, encode: Callable[[Tensor], Tensor], network: nn.Module, images: Tensor
    ) -> Tensor:
        """Features ``(P, D)`` of ``images (P, *)``, by ``encode`` for those not seen before.

        Args:
            encode: ``(P, *)`` → ``(P, D)``, each row by itself.
            network: What ``encode`` runs. Only in training mode new images are kept.
            images: Float images.
        """
        if not self._works(network, images):
            return encode(images)
        autocast = torch.is_autocast_enabled('cpu') and torch.get_autocast_dtype('cpu')
        values = chain(network.parameters(), network.buffers())
        of = (autocast, images.dtype, images.shape[1:], *(v._version for v in values))
        if of != self._of:
            self.clear()
            self._of = of
        keys = list(_digests(images))
        new = [i for i, key in enumerate(keys) if key not in self._known]
        rows = encode(images[new]) if new else ()
        found = dict(zip((keys[i] for i in new), rows, strict=True))
        result = torch.stack([found[key] if key in found else self._known[key] for key in keys])
        for key, row in found.items():
            if network.training and self._bytes + row.nbytes <= self.size:
                self._known[key] = row.detach().clone()
                self._bytes += row.nbytes
        return result

    def _works(self, network: nn.Module, images: Tensor) -> bool:
        return bool(
            (self._known or network.training)
            and self.size
            and len(images)
            and images.device.type == 'cpu'
            and not torch.compiler.is_compiling()
            and not _changes(network)
        )


def _changes(network: nn.Module) -> bool:
    """Whether a parameter is trained, or a module behaves differently in training."""
    return any(p.requires_grad for p in network.parameters()) or any(
        module.training and (isinstance(module, _TRAINED) or getattr(module, 'drop_prob', 0))
        for module in network.modules()
    )


_TRAINED = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


def _digests(images: Tensor) -> Iterator[bytes]:
    """A digest of the values of each image."""
    for row in images.detach().contiguous().flatten(1).view(torch.uint8).numpy():
        yield hashlib.blake2b(row, digest_size=16).digest()
