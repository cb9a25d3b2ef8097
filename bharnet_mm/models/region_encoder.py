"""An rgb expert that encodes each region separately and pools over parts and frames."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..layouts import REGION_PARTS, SkeletonLayout
from .body_guide import BodyGuide, full_precision
from .frozen_cache import FrozenCache
from .image_network import (
    IMAGENET,
    build_image_network,
    channels_last,
    counted_together,
    map_width,
)
from .instances import Instances, on_present

#: Mean and standard deviation of the motion channel, 0 to 255 (our choice).
MOTION = (0.0, 32.0)


class PartNorm(nn.Module):
    """Normalises the features of each part by their mean and variance over clips.

    As batch norm without a learned scale, but the statistics of a part are those of the clips that
    show it. Parts that a clip does not show get zeros. A batch in which fewer than two clips show a
    part is normalised by the running statistics, and does not change them.

    Args:
        parts (int): ``R``.
        width (int): ``D``, features of a part.
        momentum (float): Of the running statistics. Defaults to 0.1.
        eps (float): Added to the variances. Defaults to 1e-5.

    Shapes:
        ``(N, R, D)``, shown ``(N, R)`` bool → ``(N, R, D)``.
    """

    def __init__(self, parts: int, width: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.register_buffer('running_mean', torch.zeros(parts, width))
        self.register_buffer('running_var', torch.ones(parts, width))

    def forward(self, x: Tensor, shown: Tensor) -> Tensor:
        """``(N, R, D)``, shown ``(N, R)`` bool → ``(N, R, D)``, zero where a part is not shown."""
        mean, var = self.running_mean, self.running_var
        factor = shown[..., None].to(x.dtype)
        if self.training:
            count = factor.sum(0)  # (R, 1)
            known, most = count > 1, count.clamp(min=1)
            own = (x * factor).sum(0) / most
            spread = ((x - own).square() * factor).sum(0)
            with torch.no_grad():
                step = self.momentum * known
                unbiased = spread / (count - 1).clamp(min=1)
                mean.lerp_(own.to(mean.dtype), step.to(mean.dtype))
                var.lerp_(unbiased.to(var.dtype), step.to(var.dtype))
            # Where a part is not known, the running statistics have not changed.
            mean = torch.where(known, own, mean)
            var = torch.where(known, spread / most, var)
        return (x - mean) * (var + self.eps).rsqrt() * factor


@MODELS.register_module()
class RegionEncoder(BaseModule):
    r"""A 2-D network shared by all cells of a region grid, pooled over frames and parts.

    Each visible cell is encoded separately: :math:`g_{rf}` are the means of the network's feature
    map and, with ``motion``, the square roots of the mean difference to the next frame in fields of
    the cell, for part ``r`` and frame ``f``. The body expert guides the pooling:

    .. math:: a_{rf} = \mathrm{softmax}_f(w_{rf}), \qquad
        s_r = R\,n_r \Big/ \sum_{r'} n_{r'}

    over the visible cells of part ``r``, of which the clip has :math:`n_r`, where :math:`w_{rf}` is
    the strength of the body expert's features at that part and time
    (:meth:`BodyGuide.of_frames`). The features of a part are the mean of :math:`g_{rf}` weighted by
    :math:`a_{rf}` and its maximum over time, normalised over clips (:class:`PartNorm`) and
    multiplied by :math:`s_r`. The maximum keeps content that is visible only for a moment. The body
    does not weigh parts against each other: its features are always stronger at some joints, so
    that the others would be left out.

    There is no trained layer between the network and the classifier. On a few hundred clips such
    layers, and a trained attention, recognize the training people and no others. The pooled
    features of a clip are scaled to the norm ``gain``, whatever their number; it sets how fast the
    classifier learns, and so how much it is regularised by the length of the training.

    Masked cells are never read. They do not enter the network, its statistics or the attention. A
    clip without any visible cell gets zeros.

    Args:
        backbone (dict): Config of the 2-D network, see :func:`build_image_network`.
        layout (str | dict | SkeletonLayout, optional): Skeleton of the body expert; without one the
            pooling is not guided.
        parts (Sequence[str]): Rows of the grid from the top. Defaults to head, wrists, ankles.
        motion (bool): Whether the fourth channel of the grids (the difference to the next frame) is
            used. Defaults to False; a fourth channel is then not used.
        motion_size (int): Motion is averaged in ``motion_size`` x ``motion_size`` fields of a cell.
            Defaults to 8.
        input_size (int, optional): Side to which cells are enlarged for the network.
        dropout (float): On the pooled features. Defaults to 0.5.
        gain (float): Norm of the pooled features. Defaults to 3.
        detach (bool): Whether no gradient flows through the weights to the body expert. Defaults to
            True.
        cache_mb (int): Memory for features of cells that a frozen network has encoded before, see
            :class:`FrozenCache`. Defaults to 512.

    Shapes:
        ``rgb (N, 3 or 4, H, W)`` float, ``rgb_mask (N, R, F)`` bool, body: list of
        :class:`Instances`, one for each stream → ``(N, 2 R D, 1, 1)``. Cells are square: ``H / R =
        W / F``.

    Raises:
        ConfigError: For a part that the layout does not have, a grid that does not fit, and motion
            without a fourth channel.
    """

    #: The classifier starts at zero. Random weights would stay in all directions that a small
    #: training set does not have.
    classifier_starts_at_zero = True

    def __init__(
        self,
        backbone: dict,
        layout: str | dict | SkeletonLayout | None = None,
        parts: Sequence[str] = REGION_PARTS,
        motion: bool = False,
        motion_size: int = 8,
        input_size: int | None = None,
        dropout: float = 0.5,
        gain: float = 3.0,
        detach: bool = True,
        cache_mb: int = 512,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = build_image_network(backbone)
        self.parts, self.motion, self.motion_size = tuple(parts), motion, motion_size
        self.input_size = input_size
        self.guide = None if layout is None else BodyGuide(layout, self.parts, detach=detach)
        width = map_width(self.backbone) + (motion_size**2 if motion else 0)
        self.num_features = 2 * len(self.parts) * width
        self.scale = gain / self.num_features**0.5
        self.norm = PartNorm(len(self.parts), 2 * width)
        self.dropout = nn.Dropout(dropout)
        self._cache = FrozenCache(cache_mb << 20)

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the channels that the weights were trained on."""
        mean, std = getattr(self.backbone, 'normalisation', IMAGENET)
        return ((*mean, MOTION[0]), (*std, MOTION[1])) if self.motion else (mean, std)

    def forward(
        self,
        rgb: Tensor,
        rgb_mask: Tensor | None = None,
        body: list[Instances] | None = None,
        num_present: int | None = None,
        num_cells: int | None = None,
    ) -> Tensor:
        """Features ``(N, 2 R D, 1, 1)`` of ``rgb (N, 3 or 4, H, W)``.

        Args:
            rgb: The grids.
            rgb_mask: ``(N, R, F)`` bool; all cells without it.
            body: Features of the body expert.
            num_present: Not used.
            num_cells: Number of visible cells, if the host knows it.
        """
        rgb_mask = self._mask(rgb) if rgb_mask is None else rgb_mask
        self._check(rgb, rgb_mask)
        rows, columns = rgb_mask.shape[1:]
        visible = rgb_mask.flatten()
        x = rgb.unflatten(2, (rows, -1)).unflatten(4, (columns, -1))  # (N, C, R, h, F, w)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        x = x.masked_fill(~visible[:, None, None, None], 0)
        g = on_present(self._features, x, visible, num_cells).unflatten(0, (-1, rows, columns))
        with full_precision(rgb):
            y = self._pool(g.to(rgb.dtype), rgb_mask, self._guided(body, columns))
        return self.dropout(y)[..., None, None]

    def _features(self, x: Tensor) -> Tensor:
        """``(P, C, h, w)`` cells → ``(P, D)``."""
        features = self._cache(self._encode, self.backbone, x[:, :3])
        if not self.motion:
            return features
        energy = F.adaptive_avg_pool2d(x[:, 3:], self.motion_size).flatten(1)
        return torch.cat([features, energy.clamp(min=0).sqrt().to(features.dtype)], 1)

    def _encode(self, images: Tensor) -> Tensor:
        """``(P, 3, h, w)`` cells → ``(P, D)`` means of the network's features."""
        if self.input_size is not None:
            size = (self.input_size, self.input_size)
            images = F.interpolate(images, size, mode='bilinear', align_corners=False)
        with counted_together(self.backbone):
            return self.backbone(channels_last(images)).mean((2, 3))

    def _guided(self, body: list[Instances] | None, columns: int) -> Tensor | float:
        """The logits of the attention, ``(N, R, F)``."""
        if self.guide is None or body is None:
            return 0.0
        return self.guide.of_frames(body, columns)

    def _pool(self, g: Tensor, mask: Tensor, guided: Tensor | float) -> Tensor:
        """``(N, R, F, D)``, ``(N, R, F)`` bool → ``(N, 2 R D)``."""
        # The softmax is written out, so that a part without a cell gets zeros and not NaN. Its
        # logits are at most 2.
        weight = (guided.exp() if isinstance(guided, Tensor) else exp(guided)) * mask
        mean = (weight[..., None] * g).sum(2) / weight.sum(2, keepdim=True).clamp(min=1e-12)
        shown = mask.any(-1)
        peak = g.masked_fill(~mask[..., None], torch.finfo(g.dtype).min).amax(2)
        peak = peak.masked_fill(~shown[..., None], 0)
        cells = mask.sum(-1, keepdim=True).to(g.dtype)  # (N, R, 1)
        share = cells / cells.sum(1, keepdim=True).clamp(min=1) * (self.scale * len(self.parts))
        pooled = self.norm(torch.cat([mean, peak], -1), shown)
        return (share * pooled).flatten(1)

    def _mask(self, rgb: Tensor) -> Tensor:
        rows = len(self.parts)
        shape = (len(rgb), rows, rgb.size(3) * rows // rgb.size(2))
        return torch.ones(shape, dtype=torch.bool, device=rgb.device)

    def _check(self, rgb: Tensor, rgb_mask: Tensor) -> None:
        rows, columns = rgb_mask.shape[1:]
        if rows != len(self.parts):
            raise ConfigError(
                'RegionEncoder',
                f'grids of {rows} rows',
                f'{len(self.parts)}, one for each of parts={self.parts}',
                "set the model's and CutRegions's parts to the same",
            )
        if rgb.size(2) % rows or rgb.size(2) * columns != rgb.size(3) * rows:
            raise ConfigError(
                'RegionEncoder',
                f'images of {rgb.size(2)} x {rgb.size(3)} with a mask of {rows} x {columns}',
                'square cells',
                'give the grids as CutRegions makes them',
            )
        if self.motion and rgb.size(1) < 4:
            raise ConfigError(
                'RegionEncoder, motion=True',
                f'grids of {rgb.size(1)} channels',
                'a fourth channel, how much the next frame differs',
                'cut regions with motion=True (extract_regions.py --motion), or set motion=False',
            )
