"""Packed instances: the form of a batch in which the experts compute.

A batch has a fixed number of slots for each clip (persons or hands), and many are empty: NTU has
one person in four of five clips and lacks a third of the hands. Packing keeps the slots with at
least one visible frame. So absent instances are not computed and enter no statistic.

The number of present instances changes from batch to batch. A CUDA graph needs one shape for many
batches, so the packed form may have a given number of rows: the last ones are padding, which does
not enter any statistic, pooling or gradient.

In an exported graph no shape may depend on data. Within :func:`every_slot` absent instances are
therefore computed too, with weight 0 (:class:`AllSlots`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass
class Instances:
    """Packed features of the present instances of a batch.

    Attributes:
        x (Tensor): ``(P, C, V, T)`` features, time last.
        mask (Tensor): ``(P, T)`` bool, the visible frames.
        clip (Tensor): ``(P,)`` number of the instance's clip in the batch, ascending.
        slot (Tensor): ``(P,)`` number of the instance's slot in the clip.
        num_clips (int): ``N``.
        num_slots (int): ``I``.
        count (Tensor, optional): Number of leading rows that are instances, on the device. The rows
            after them are padding, with clip ``N`` and no visible frame. None: all rows.
    """

    x: Tensor
    mask: Tensor
    clip: Tensor
    slot: Tensor
    num_clips: int
    num_slots: int
    count: Tensor | None = None

    def with_features(self, x: Tensor, stride: int | None = None) -> 'Instances':
        """The same instances with other features; the mask is adapted to a stride of time (visible
        if any frame was).

        Args:
            x (Tensor): ``(P, D, V, T')``.
            stride (int, optional): Stride of time. By default ``ceil(T / T')``.
        """
        mask = self.mask
        if stride is None:
            stride = -(-mask.size(-1) // x.size(-1))
        if stride > 1:
            frames = x.size(-1)
            mask = F.pad(mask, (0, frames * stride - mask.size(-1)))
            mask = mask.unflatten(-1, (frames, stride)).any(-1)
        return replace(self, x=x, mask=mask)

    def tensors(self) -> list[Tensor]:
        """All tensors: features, mask, and which instance they are of."""
        return [value for value in vars(self).values() if isinstance(value, Tensor)]

    def unpack(self, values: Tensor) -> Tensor:
        """``(P, *)`` values of the instances → ``(N, I, *)``, zero in the empty slots."""
        # Padding is written to an additional clip, which is removed.
        clips = self.num_clips + (self.count is not None)
        dense = values.new_zeros(clips, self.num_slots, *values.shape[1:])
        return dense.index_put((self.clip, self.slot), values)[: self.num_clips]

    def present(self) -> Tensor:
        """``(N,)`` bool: clips with at least one instance."""
        found = torch.zeros(self.num_clips + 1, dtype=torch.bool, device=self.x.device)
        return found.index_fill_(0, self.clip, True)[: self.num_clips]

    def pool(self) -> Tensor:
        """Average over the visible frames, joints and instances of a clip: ``(N, C)``, zero for a
        clip without instance.
        """
        weight = self.mask.to(self.x.dtype)
        total = self.unpack((self.x.mean(2) * weight[:, None]).sum(-1)).sum(1)
        return total / self.unpack(weight.sum(-1)).sum(1).clamp(min=1)[:, None]


class AllSlots(Instances):
    """All instances, also absent ones: ``P = N I``, with a mask of zeros for the absent ones.

    All averages are weighted by the mask, so results equal those of the packed form. It is for
    inference only, since absent instances would enter the statistics of a batch.
    """

    def unpack(self, values: Tensor) -> Tensor:
        """``(P, *)`` values of all slots → ``(N, I, *)``, zero in the empty slots."""
        present = self.mask.any(-1).view(-1, *[1] * (values.dim() - 1))
        # onnxruntime has no Where for bool.
        values = values & present if values.dtype == torch.bool else values.masked_fill(~present, 0)
        return values.unflatten(0, (-1, self.num_slots))

    def present(self) -> Tensor:
        """``(N,)`` bool: clips with at least one visible frame."""
        return self.mask.any(-1).unflatten(0, (-1, self.num_slots)).any(-1)


_EVERY_SLOT = False


@contextmanager
def every_slot() -> Iterator[None]:
    """Context in which :func:`pack` keeps absent instances too, so no shape depends on data."""
    global _EVERY_SLOT
    before, _EVERY_SLOT = _EVERY_SLOT, True
    try:
        yield
    finally:
        _EVERY_SLOT = before


def nearest_visible(mask: Tensor) -> Tensor:
    """Index of the nearest visible frame, the earlier one of two equally near: ``(P, T)`` bool →
    ``(P, T)`` long.

    Every row must have a visible frame.
    """
    frames = mask.size(-1)
    time = torch.arange(frames, device=mask.device).expand_as(mask)
    far = 2 * frames
    before = torch.where(mask, time, -far).cummax(-1).values
    after = torch.where(mask, time, far).flip(-1).cummin(-1).values.flip(-1)
    return torch.where(after - time < time - before, after, before)


def present_rows(present: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Indices of the present entries in ascending order, found without waiting for the device.

    Args:
        present (Tensor): ``(N,)`` bool.
        rows (int): ``P``, at least the number of present entries.

    Returns:
        tuple[Tensor, Tensor]: ``(P,)`` long, padded with ``N``, and the number of present entries,
        on the device.

    Raises:
        RuntimeError: If ``rows`` are too few. On a GPU, where the host does not know the number,
            this is a device-side assertion.
    """
    count = present.sum()
    torch.ops.aten._assert_async.msg(
        count <= rows,
        f'pack: found more than {rows} present instances; expected at most one a row. '
        'Fix: let the data preprocessor count the rows',
    )
    size = len(present)
    target = torch.where(present, present.cumsum(0) - 1, rows)
    places = torch.full((rows + 1,), size, device=present.device)
    places.scatter_(0, target, torch.arange(size, device=present.device))
    return places[:rows], count


def bucket(number: int, steps: int) -> int:
    """The least size that is at least ``number`` and 1, in a series with ``steps`` sizes for each
    power of two. With 8 steps at most an eighth of the rows is padding.
    """
    number = max(number, 1)
    step = max(1, 2 ** ((number - 1).bit_length() - 1) // steps)
    return -(-number // step) * step


def pack(x: Tensor, mask: Tensor, rows: int | None = None) -> Instances:
    """Packs the present instances of a batch. Missing frames repeat the nearest visible frame.

    Values of masked entries, also NaN, are never read.

    Args:
        x (Tensor): ``(N, I, T, V, C)`` coordinates.
        mask (Tensor): ``(N, I, T)`` bool, True where visible.
        rows (int, optional): Rows of the packed form, at least the number of present instances; the
            others are padding. The host then does not wait for the device. By default the number of
            present instances is used, which the host has to read from the device.

    Returns:
        Instances: With ``x`` of shape ``(P, C, V, T)``.

    Raises:
        RuntimeError: If there are more present instances than ``rows``.
    """
    if _EVERY_SLOT:
        return _pack_all(x, mask)
    if rows is None:
        clip, slot = mask.any(-1).nonzero(as_tuple=True)
        packed_mask = mask[clip, slot]
        # One gather picks instances and frames together.
        frame = nearest_visible(packed_mask)
        packed = x[clip[:, None], slot[:, None], frame].permute(0, 3, 2, 1).contiguous()
        return Instances(packed, packed_mask, clip, slot, *mask.shape[:2])
    slots, frames = mask.shape[1:]
    places, count = present_rows(mask.any(-1).flatten(), rows)
    clip, slot = places // slots, places % slots
    padding = clip == len(mask)
    source = places.clamp(max=mask.numel() // frames - 1)
    packed_mask = mask.flatten(0, 1)[source] & ~padding[:, None]
    frame = nearest_visible(packed_mask).clamp(0, frames - 1)
    packed = x.flatten(0, 1)[source[:, None], frame].masked_fill(padding[:, None, None, None], 0)
    packed = packed.permute(0, 3, 2, 1).contiguous()
    return Instances(packed, packed_mask, clip, slot, *mask.shape[:2], count)


def _pack_all(x: Tensor, mask: Tensor) -> AllSlots:
    """:func:`pack` for :class:`AllSlots`, with operators that exporters support."""
    size, slots, frames = mask.shape
    x, mask = x.flatten(0, 1), mask.flatten(0, 1)
    time = torch.arange(frames, device=mask.device)
    # Distance of frame s from t. Of two equally near frames the earlier one comes first; masked
    # frames come last.
    distance = 2 * (time - time[:, None]).abs() + (time > time[:, None])
    frame = distance.expand(mask.size(0), -1, -1).masked_fill(~mask[:, None], 2 * frames).argmin(-1)
    frame = frame[:, None, None].expand(-1, x.size(3), x.size(2), -1)
    x = x.masked_fill(~mask[..., None, None], 0).permute(0, 3, 2, 1).gather(3, frame)
    index = torch.arange(size * slots, device=mask.device)
    return AllSlots(x, mask, index // slots, index % slots, size, slots)


def on_present(
    network: Callable[[Tensor], Tensor], x: Tensor, present: Tensor, rows: int | None = None
) -> Tensor:
    """Runs a network on the present samples of a batch only; absent ones get zeros.

    Args:
        network (Callable): ``(P, *)`` → ``(P, *)``.
        x (Tensor): ``(N, *)``.
        present (Tensor): ``(N,)`` bool.
        rows (int, optional): Number of present samples, if the host knows it.
    """
    if _EVERY_SLOT:
        y = network(x)
        return y.masked_fill(~present.view(-1, *[1] * (y.dim() - 1)), 0)
    if rows == len(x):
        return network(x)
    index = present.nonzero().flatten() if rows is None else present_rows(present, rows)[0]
    y = network(x[index])
    return y.new_zeros(len(x), *y.shape[1:]).index_copy(0, index, y)
