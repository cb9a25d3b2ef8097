"""Present instances, packed: the form in which the experts compute.

A batch has a fixed number of slots a clip (persons, or hands), most of them empty: NTU has one
person in four clips of five and misses a third of the hands. Packing keeps the slots with at least
one visible frame, so an absent one costs nothing and enters no statistic.

The number of present instances changes from batch to batch. A CUDA graph needs one shape for many
batches, so the packed form may have a given number of rows: the last ones are padding, which no
statistic, no pooling and no gradient reads.

An exported graph has no shapes that depend on data at all: within :func:`every_slot` absent
instances are computed as well and weigh nothing (:class:`AllSlots`).
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
        clip (Tensor): ``(P,)`` which clip of the batch an instance belongs to, ascending.
        slot (Tensor): ``(P,)`` which of the clip's slots it fills.
        num_clips (int): ``N``.
        num_slots (int): ``I``.
        count (Tensor, optional): How many leading rows are instances, a number on the device; the
            rows after them are padding, with clip ``N`` and no visible frame. None: all rows.
    """

    x: Tensor
    mask: Tensor
    clip: Tensor
    slot: Tensor
    num_clips: int
    num_slots: int
    count: Tensor | None = None

    def with_features(self, x: Tensor, stride: int | None = None) -> 'Instances':
        """The same instances with other features; the mask follows when time was strided (visible
        if any frame was).

        Args:
            x (Tensor): ``(P, D, V, T')``.
            stride (int, optional): Of time. By default what the lengths say, ``ceil(T / T')``.
        """
        mask = self.mask
        if stride is None:
            stride = -(-mask.size(-1) // x.size(-1))
        if stride > 1:
            frames = x.size(-1)
            mask = F.pad(mask, (0, frames * stride - mask.size(-1)))
            mask = mask.unflatten(-1, (frames, stride)).any(-1)
        return replace(self, x=x, mask=mask)

    def unpack(self, values: Tensor) -> Tensor:
        """``(P, *)`` values of the instances → ``(N, I, *)``, zero in the empty slots."""
        # Padding is written to a clip behind the last one, which is cut off.
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
    """Instances of which none is left out: ``P = N I``, the absent ones with a mask of zeros.

    All averages are weighted by the mask, so results are those of the packed form. For inference
    only: absent instances would enter the statistics of a batch.
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
    """Within it, :func:`pack` keeps absent instances too: no shape depends on what is present."""
    global _EVERY_SLOT
    before, _EVERY_SLOT = _EVERY_SLOT, True
    try:
        yield
    finally:
        _EVERY_SLOT = before


def nearest_visible(mask: Tensor) -> Tensor:
    """Index of the nearest visible frame, the earlier one of two equally near: ``(P, T)`` bool →
    ``(P, T)`` long.

    Every row has to have a visible frame.
    """
    frames = mask.size(-1)
    time = torch.arange(frames, device=mask.device).expand_as(mask)
    far = 2 * frames
    before = torch.where(mask, time, -far).cummax(-1).values
    after = torch.where(mask, time, far).flip(-1).cummin(-1).values.flip(-1)
    return torch.where(after - time < time - before, after, before)


def present_rows(present: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Places of the present entries in ascending order, without a wait for the device.

    Args:
        present (Tensor): ``(N,)`` bool.
        rows (int): ``P``, at least the number of present entries.

    Returns:
        tuple[Tensor, Tensor]: ``(P,)`` long, padded with ``N``, and how many are present, a number
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
    """The least size of a series with ``steps`` sizes an octave that is not below ``number`` nor
    below 1: with 8, at most an eighth of the rows are padding.
    """
    number = max(number, 1)
    step = max(1, 2 ** ((number - 1).bit_length() - 1) // steps)
    return -(-number // step) * step


def pack(x: Tensor, mask: Tensor, rows: int | None = None) -> Instances:
    """Packs the present instances of a batch; a missing frame of one repeats its nearest visible
    frame.

    What stands in a masked entry, NaN included, is never read.

    Args:
        x (Tensor): ``(N, I, T, V, C)`` coordinates.
        mask (Tensor): ``(N, I, T)`` bool, True where visible.
        rows (int, optional): Rows of the packed form, at least the number of present instances;
            the others are padding. Nothing then waits for the device. By default the number of
            present instances, which the host has to ask the device for.

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
    """:func:`pack` for :class:`AllSlots`, by operators that exporters know."""
    size, slots, frames = mask.shape
    x, mask = x.flatten(0, 1), mask.flatten(0, 1)
    time = torch.arange(frames, device=mask.device)
    # Distance of frame s from t, the earlier of two equally near ones first; masked ones last.
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
        rows (int, optional): How many are present, where the host knows it.
    """
    if _EVERY_SLOT:
        y = network(x)
        return y.masked_fill(~present.view(-1, *[1] * (y.dim() - 1)), 0)
    if rows == len(x):
        return network(x)
    index = present.nonzero().flatten() if rows is None else present_rows(present, rows)[0]
    y = network(x[index])
    return y.new_zeros(len(x), *y.shape[1:]).index_copy(0, index, y)
