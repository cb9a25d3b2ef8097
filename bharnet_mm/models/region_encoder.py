"""An rgb expert that encodes each region separately and pools over parts and frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..layouts import REGION_PARTS, SkeletonLayout
from .body_guide import BodyGuide
from .image_network import IMAGENET, build_image_network, map_width
from .instances import Instances, on_present

#: Mean and standard deviation of the motion channel, 0 to 255 (our choice).
MOTION = (0.0, 32.0)


@MODELS.register_module()
class RegionEncoder(BaseModule):
    r"""A 2-D network shared by all cells of a region grid, and attention over parts and frames.

    Each visible cell is encoded separately and becomes a token :math:`h_{rf} =
    \mathrm{GELU}(\mathrm{LN}(W g_{rf} + e_r))` of its part ``r`` and frame ``f``. The weights of
    the tokens are

    .. math:: a_{rf} = \mathrm{softmax}_{rf}\big(u^\top h_{rf} + \gamma\,(w_{rf} - 1)\big)

    over the visible cells of the clip, where :math:`w_{rf}` is the strength of the body expert's
    features at that part and time (:meth:`BodyGuide.of_frames`); ``u`` starts at zero and
    :math:`\gamma` at 1, so training starts from the body's weights. The features of each part are
    the weighted mean and the maximum over time, times the part's share of the attention. The
    maximum keeps content that is visible only for a moment. So this form recognizes hands better
    than a network on the whole grid (:class:`BodyGuidedRGB`).

    Masked cells are never read. They do not enter the network, its statistics or the attention. A
    clip without any visible cell gets zeros.

    Args:
        backbone (dict): Config of the 2-D network, see :func:`build_image_network`.
        layout (str | dict | SkeletonLayout, optional): Skeleton of the body expert; without one the
            attention is not guided.
        parts (Sequence[str]): Rows of the grid from the top. Defaults to head, wrists, ankles.
        embed_dims (int): Width of a token. Defaults to 64.
        motion (bool): Whether the fourth channel of the grids (the difference to the next frame) is
            used: its means in ``motion_size`` x ``motion_size`` fields are added to the network's
            features. Defaults to False; a fourth channel is then not used.
        motion_size (int): Defaults to 6.
        input_size (int, optional): Side to which cells are enlarged for the network.
        dropout (float): On the pooled features. Defaults to 0.3.
        detach (bool): Whether no gradient flows through the weights to the body expert. Defaults to
            True.

    Shapes:
        ``rgb (N, 3 or 4, H, W)`` float, ``rgb_mask (N, R, F)`` bool, body: list of
        :class:`Instances`, one for each stream → ``(N, 2 R E, 1, 1)``. Cells are square: ``H / R =
        W / F``.

    Raises:
        ConfigError: For a part that the layout does not have, a grid that does not fit, and motion
            without a fourth channel.
    """

    def __init__(
        self,
        backbone: dict,
        layout: str | dict | SkeletonLayout | None = None,
        parts: Sequence[str] = REGION_PARTS,
        embed_dims: int = 64,
        motion: bool = False,
        motion_size: int = 6,
        input_size: int | None = None,
        dropout: float = 0.3,
        detach: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = build_image_network(backbone)
        self.parts, self.motion, self.motion_size = tuple(parts), motion, motion_size
        self.input_size = input_size
        self.guide = None if layout is None else BodyGuide(layout, self.parts, detach=detach)
        width = map_width(self.backbone) + (motion_size**2 if motion else 0)
        self.num_features = 2 * len(self.parts) * embed_dims
        self.project = nn.Linear(width, embed_dims)
        self.part_embedding = nn.Parameter(torch.zeros(len(self.parts), embed_dims))
        self.norm = nn.LayerNorm(embed_dims)
        self.score = nn.Linear(embed_dims, 1, bias=False)
        nn.init.zeros_(self.score.weight)
        self.gamma = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(dropout)

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
        """Features ``(N, 2 R E, 1, 1)`` of ``rgb (N, 3 or 4, H, W)``.

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
        tokens = on_present(self._features, x, visible, num_cells)
        tokens = self.project(tokens).unflatten(0, (-1, rows, columns))
        tokens = F.gelu(self.norm(tokens + self.part_embedding[:, None]))  # (N, R, F, E)
        return self._pool(tokens, rgb_mask, self._guided(body, columns))[..., None, None]

    def _features(self, x: Tensor) -> Tensor:
        """``(P, C, h, w)`` cells → ``(P, D)``."""
        images = x[:, :3]
        if self.input_size is not None:
            size = (self.input_size, self.input_size)
            images = F.interpolate(images, size, mode='bilinear', align_corners=False)
        features = self.backbone(images).mean((2, 3))
        if not self.motion:
            return features
        energy = F.adaptive_avg_pool2d(x[:, 3:], self.motion_size).flatten(1)
        return torch.cat([features, energy.clamp(min=0).sqrt().to(features.dtype)], 1)

    def _guided(self, body: list[Instances] | None, columns: int) -> Tensor | float:
        """The body's term in the logits of the attention, ``(N, R, F)``."""
        if self.guide is None or body is None:
            return 0.0
        return self.gamma * (self.guide.of_frames(body, columns) - 1)

    def _pool(self, tokens: Tensor, mask: Tensor, guided: Tensor | float) -> Tensor:
        """``(N, R, F, E)``, ``(N, R, F)`` bool → ``(N, 2 R E)``."""
        logits = (self.score(tokens)[..., 0] + guided).masked_fill(~mask, float('-inf'))
        # The softmax is written out, so that a clip without a cell gets zeros and not NaN.
        top = logits.flatten(1).amax(1)[:, None, None]
        weight = (logits - torch.where(top.isfinite(), top, 0.0)).exp()
        part = weight.sum(-1, keepdim=True)  # (N, R, 1)
        share = part / part.sum(1, keepdim=True).clamp(min=1e-12) * len(self.parts)
        mean = (weight[..., None] * tokens).sum(2) / part.clamp(min=1e-12)
        peak = tokens.masked_fill(~mask[..., None], float('-inf')).amax(2)
        peak = torch.where(mask.any(-1, keepdim=True), peak, 0.0)
        return self.dropout((torch.cat([mean, peak], -1) * share).flatten(1))

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
