"""Weights of regions from the strength of the body expert's features."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..layouts import REGION_WHOLES, SkeletonLayout, get_layout
from .instances import Instances


def full_precision(x: Tensor) -> AbstractContextManager:
    """Context without autocast. It does nothing if autocast is off, so that an exported graph does
    not contain it.
    """
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


class BodyGuide(nn.Module):
    r"""Weights of regions from the strength of the body expert's features at their joints.

    After MMNet (Bruce et al., TPAMI 2023). The features of the body expert at joint ``v`` and time
    ``t`` of person ``m`` have the strength

    .. math:: s_{mvt} = \lVert f_{mvt} \rVert_2, \qquad
        w = 2\,\frac{x - \min s}{\max s - \min s}

    where ``x`` is an average of the strength over the joints of a part and over some time, of the
    person for whom it is largest, and minimum and maximum run over all joints, visible frames and
    persons of the *same clip*. MMNet takes them over the batch, so that a prediction depends on
    other clips. Our form differs in this and in the choice of the person for each part. A clip
    without a body, or with constant strength, gets 1 everywhere. The features of several streams
    are treated as one vector.

    Args:
        layout (str | dict | SkeletonLayout): Skeleton of the body expert.
        parts (Sequence[str]): Parts of the layout; ``person`` and ``scene`` stand for all joints.
        top_ratio (float): Share of time with the largest strength that is averaged for a whole
            clip.
        detach (bool): Whether no gradient flows through the weights to the body expert.

    Raises:
        ConfigError: For a part that the layout does not have, and for a wrong ratio.
    """

    def __init__(
        self,
        layout: str | dict | SkeletonLayout,
        parts: Sequence[str],
        top_ratio: float = 0.2,
        detach: bool = True,
    ) -> None:
        super().__init__()
        if not 0 < top_ratio <= 1:
            raise ConfigError(
                'BodyGuide', f'top_ratio={top_ratio}', 'above 0, at most 1', 'correct it'
            )
        self.top_ratio, self.detach = top_ratio, detach
        matrix = _part_matrix(get_layout(layout), tuple(parts))
        self.register_buffer('part_matrix', matrix, persistent=False)

    def of_clip(self, body: list[Instances]) -> Tensor:
        """Weight of each part, by the top share of time: ``(N, R)`` from 0 to 2, float32 or
        better.
        """
        with full_precision(body[0].x):
            strength, visible, present = self._strength(body)
            parts = self._of_parts(strength)  # (N, I, R, T)
            # Sorted and cut by rank, not by topk, so that an exported graph takes any number of
            # frames.
            rank = torch.arange(parts.size(-1), device=parts.device)
            count = (self.top_ratio * (rank[-1] + 1).double()).round().clamp(min=1)
            top = parts.masked_fill(~visible, float('-inf')).sort(-1, descending=True).values
            found = top.isfinite() & (rank < count)
            mean = top.masked_fill(~found, 0).sum(-1) / found.sum(-1).clamp(min=1)  # (N, I, R)
            mean = mean.masked_fill(~found.any(-1), float('-inf')).amax(1)
            return self._scale(mean, strength, visible, present)

    def of_frames(self, body: list[Instances], columns: int) -> Tensor:
        """Weight of each part in each column of a grid: ``(N, R, F)`` from 0 to 2.

        The columns are assumed to be evenly spaced over the frames of the body expert (our choice).
        A column averages the frames of its piece of time. If nobody is visible in these, its weight
        is 1.

        Args:
            body: Features of the body expert, one for each stream.
            columns: ``F``.
        """
        with full_precision(body[0].x):
            strength, visible, present = self._strength(body)
            parts = self._of_parts(strength)
            frames = torch.arange(parts.size(-1), device=parts.device, dtype=parts.dtype)
            length = frames[-1] + 1
            middle = torch.arange(0.5, columns, device=parts.device, dtype=parts.dtype)
            away = (frames[:, None] + 0.5 - middle * (length / columns)).abs()  # (T, F)
            near = (away <= (length / (2 * columns)).clamp(min=0.5)).to(parts.dtype)
            factor = visible.to(parts.dtype)
            count = torch.matmul(factor, near)  # (N, I, 1, F)
            mean = torch.matmul(parts * factor, near) / count.clamp(min=1)
            mean = mean.masked_fill(count == 0, float('-inf')).amax(1)  # (N, R, F)
            unknown = ~mean.isfinite()
            # The values must be finite, since their gradient would otherwise be infinity times
            # zero.
            mean = mean.masked_fill(unknown, 0)
            weight = self._scale(mean.flatten(1), strength, visible, present)
            return weight.view_as(mean).masked_fill(unknown, 1)

    def _strength(self, body: list[Instances]) -> tuple[Tensor, Tensor, Tensor]:
        """``(N, I, V, T)``, ``(N, I, 1, T)`` bool and ``(N, 1)`` bool: norms, visible, present."""
        features = [stream.x.detach() if self.detach else stream.x for stream in body]
        precision = torch.promote_types(features[0].dtype, torch.float32)
        strength = torch.linalg.vector_norm(torch.cat(features, 1).to(precision), dim=1)
        return (
            body[0].unpack(strength),
            body[0].unpack(body[0].mask)[:, :, None],
            body[0].present()[:, None],
        )

    def _of_parts(self, strength: Tensor) -> Tensor:
        return torch.matmul(self.part_matrix.to(strength.dtype), strength)

    @staticmethod
    def _scale(mean: Tensor, strength: Tensor, visible: Tensor, present: Tensor) -> Tensor:
        """``(N, *)`` averages to weights by the least and largest strength of their clip."""
        hidden, absent = ~visible, ~present
        low = strength.masked_fill(hidden, float('inf')).flatten(1).amin(1, keepdim=True)
        high = strength.masked_fill(hidden, float('-inf')).flatten(1).amax(1, keepdim=True)
        span = (high - low).masked_fill(absent, 0)
        flat = ~(span > 1e-6 * high.masked_fill(absent, 1))  # also where it is not a number
        share = (mean - low) / span.masked_fill(flat, 1)
        return (2 * share).masked_fill(flat, 1)


def _part_matrix(layout: SkeletonLayout, parts: tuple[str, ...]) -> Tensor:
    """``(R, V)``: the mean over the joints of each part."""
    unknown = [part for part in parts if part not in (*layout.parts, *REGION_WHOLES)]
    if unknown or not parts:
        raise ConfigError(
            f'layout {layout.name!r}',
            f'parts={parts}',
            f'some of {(*layout.parts, *REGION_WHOLES)}',
            'name parts of the layout, in the order of the rows of the grid',
        )
    matrix = torch.zeros(len(parts), layout.num_joints)
    for row, part in zip(matrix, parts, strict=True):
        joints = layout.part_index(part)
        row[joints.tolist()] = 1 / len(joints)
    return matrix
