"""Present instances, packed: the form in which the experts compute.

A batch has a fixed number of slots a clip (persons, or hands), most of them empty: NTU has one
person in four clips of five and misses a third of the hands. Packing keeps the slots with at least
one visible frame, so an absent one costs nothing and enters no statistic.
"""

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
    """

    x: Tensor
    mask: Tensor
    clip: Tensor
    slot: Tensor
    num_clips: int
    num_slots: int

    def with_features(self, x: Tensor) -> 'Instances':
        """The same instances with other features; the mask follows when time was strided (visible
        if any frame was).
        """
        mask = self.mask
        if x.size(-1) != mask.size(-1):
            stride = -(-mask.size(-1) // x.size(-1))
            mask = F.max_pool1d(mask[:, None].float(), stride, stride, ceil_mode=True)[:, 0] > 0
        return replace(self, x=x, mask=mask)

    def unpack(self, values: Tensor) -> Tensor:
        """``(P, *)`` values of the instances → ``(N, I, *)``, zero in the empty slots."""
        dense = values.new_zeros(self.num_clips, self.num_slots, *values.shape[1:])
        return dense.index_put((self.clip, self.slot), values)

    def present(self) -> Tensor:
        """``(N,)`` bool: clips with at least one instance."""
        return torch.zeros(self.num_clips, dtype=torch.bool, device=self.x.device).index_fill(
            0, self.clip, True
        )

    def pool(self) -> Tensor:
        """Average over the visible frames, joints and instances of a clip: ``(N, C)``, zero for a
        clip without instance.
        """
        weight = self.mask.to(self.x.dtype)
        total = self.unpack((self.x.mean(2) * weight[:, None]).sum(-1)).sum(1)
        return total / self.unpack(weight.sum(-1)).sum(1).clamp(min=1)[:, None]


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


def pack(x: Tensor, mask: Tensor) -> Instances:
    """Packs the present instances of a batch; a missing frame of one repeats its nearest visible
    frame.

    What stands in a masked entry, NaN included, is never read.

    Args:
        x (Tensor): ``(N, I, T, V, C)`` coordinates.
        mask (Tensor): ``(N, I, T)`` bool, True where visible.

    Returns:
        Instances: With ``x`` of shape ``(P, C, V, T)``.
    """
    clip, slot = mask.any(-1).nonzero(as_tuple=True)
    packed_mask = mask[clip, slot]
    # One gather picks instances and frames together.
    frame = nearest_visible(packed_mask)
    packed = x[clip[:, None], slot[:, None], frame].permute(0, 3, 2, 1).contiguous()
    return Instances(packed, packed_mask, clip, slot, *mask.shape[:2])
