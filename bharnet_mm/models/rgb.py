"""The picture stream of BHaRNet-M: regions around the joints, weighted by the body expert."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ..errors import ConfigError
from ..layouts import REGION_PARTS, SkeletonLayout, get_layout
from .instances import Instances, on_present


@dataclass
class RegionFeatures:
    """Features of a batch's region grids, as the head takes them beside :class:`Instances`.

    Attributes:
        x (Tensor): ``(N, D, h, w)``, zero for a clip without a region.
        is_present (Tensor): ``(N,)`` bool, clips with at least one region.
    """

    x: Tensor
    is_present: Tensor

    def present(self) -> Tensor:
        """``(N,)`` bool: clips with at least one region."""
        return self.is_present

    def pool(self) -> Tensor:
        """Average over the feature map: ``(N, D)``."""
        return self.x.mean((2, 3))


@MODELS.register_module()
class BodyGuidedRGB(BaseModule):
    r"""A 2-D network on region grids whose rows are weighted by what the body expert finds strong.

    After MMNet (Bruce et al., TPAMI 2023), the way BHaRNet's abstract names. The features of the
    body expert at joint ``v`` and time ``t`` of person ``m`` have the strength

    .. math:: s_{mvt} = \lVert f_{mvt} \rVert_2, \qquad
        w_r = 2\,\frac{\max_m \mathrm{top}_\rho(s_{m r \cdot}) - \min s}{\max s - \min s}

    where :math:`s_{m r t}` is the mean over the joints of part ``r``, :math:`\mathrm{top}_\rho` the
    mean of the share :math:`\rho` of time with the largest values, and minimum and maximum run over
    all joints, visible frames and persons of the *same clip*. MMNet takes them over the batch, so
    that a prediction depends on its neighbours; that, and the person by part, is where we differ.
    The weights multiply the rows of the normalised grid. A clip without a body, or whose map is
    flat, gets 1 everywhere.

    Missing regions are set to zero, the mean colour, whatever is in them. Clips without any region
    do not enter the network, hence no batch statistic, and get zero features.

    Also the backbone of a stock ``Recognizer2D``: called with pictures only, no weight is applied.

    Args:
        backbone (dict): Config of a 2-D network of MMAction2, ``dict(type='ResNet', depth=18)``.
        layout (str | dict | SkeletonLayout, optional): Skeleton of the body expert; without one the
            regions are not weighted.
        parts (Sequence[str]): Rows of the grid from the top, parts of the layout. Defaults to head,
            wrists, ankles.
        top_ratio (float): :math:`\rho`. Defaults to 0.2 (MMNet: 15 of 75 positions).
        detach (bool): Whether the weights send no gradient to the body expert. Defaults to True.

    Shapes:
        ``rgb (N, 3, H, W)`` float, ``rgb_mask (N, R, F)`` bool, body: list of :class:`Instances`,
        one for each stream → ``(N, D, h, w)``. ``R`` divides ``H``, ``F`` divides ``W``.

    Raises:
        ConfigError: For a part that the layout does not have, and for a grid that does not fit.
    """

    def __init__(
        self,
        backbone: dict,
        layout: str | dict | SkeletonLayout | None = None,
        parts: Sequence[str] = REGION_PARTS,
        top_ratio: float = 0.2,
        detach: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not 0 < top_ratio <= 1:
            raise ConfigError(
                'BodyGuidedRGB', f'top_ratio={top_ratio}', 'above 0, at most 1', 'correct it'
            )
        self.backbone = MODELS.build(backbone)
        self.parts, self.top_ratio, self.detach = tuple(parts), top_ratio, detach
        self.guided = layout is not None
        if self.guided:
            self.register_buffer(
                'part_matrix', _part_matrix(get_layout(layout), self.parts), persistent=False
            )

    def forward(
        self,
        rgb: Tensor,
        rgb_mask: Tensor | None = None,
        body: list[Instances] | None = None,
        num_present: int | None = None,
    ) -> Tensor:
        """Features ``(N, D, h, w)`` of the pictures; ``num_present`` is how many clips have
        one, where the host knows it.
        """
        if rgb_mask is None:
            return self.backbone(rgb)
        self._check(rgb, rgb_mask)
        factor = rgb_mask.to(rgb.dtype)
        if self.guided and body is not None:
            factor = factor * self.region_weights(body)[:, :, None].to(rgb.dtype)
        rows, columns = rgb_mask.shape[1:]
        cells = rgb.unflatten(2, (rows, -1)).unflatten(4, (columns, -1))  # (N, 3, R, h, F, w)
        # What a masked cell holds, NaN included, is replaced, not multiplied.
        cells = cells.masked_fill(~rgb_mask[:, None, :, None, :, None], 0)
        grids = (cells * factor[:, None, :, None, :, None]).reshape(rgb.shape)
        return on_present(self.backbone, grids, rgb_mask.flatten(1).any(1), num_present)

    def region_weights(self, body: list[Instances]) -> Tensor:
        """Weight of each part's regions, from 0 to 2: ``(N, R)``, float32 or better.

        Of several streams the features count as one vector.
        """
        features = [stream.x.detach() if self.detach else stream.x for stream in body]
        precision = torch.promote_types(features[0].dtype, torch.float32)
        with torch.autocast(features[0].device.type, enabled=False):
            strength = torch.linalg.vector_norm(torch.cat(features, 1).to(precision), dim=1)
            return self._weights(
                body[0].unpack(strength),
                body[0].unpack(body[0].mask)[:, :, None],
                body[0].present()[:, None],
            )

    def _weights(self, strength: Tensor, visible: Tensor, present: Tensor) -> Tensor:
        """``(N, I, V, T)``, ``(N, I, 1, T)`` bool, ``(N, 1)`` bool → ``(N, R)``."""
        low = strength.masked_fill(~visible, float('inf')).flatten(1).amin(1, keepdim=True)
        high = strength.masked_fill(~visible, float('-inf')).flatten(1).amax(1, keepdim=True)
        span = torch.where(present, high - low, 0.0)

        parts = torch.matmul(self.part_matrix.to(strength.dtype), strength)  # (N, I, R, T)
        # Sorted and cut by rank, not by topk, so that an exported graph takes any number of frames.
        rank = torch.arange(parts.size(-1), device=parts.device)
        count = (self.top_ratio * (rank[-1] + 1).double()).round().clamp(min=1)
        top = parts.masked_fill(~visible, float('-inf')).sort(-1, descending=True).values
        found = top.isfinite() & (rank < count)
        mean = top.masked_fill(~found, 0).sum(-1) / found.sum(-1).clamp(min=1)  # (N, I, R)
        mean = mean.masked_fill(~found.any(-1), float('-inf')).amax(1)
        clear = span > 1e-6 * torch.where(present, high, 1.0)
        share = (mean - low) / torch.where(clear, span, 1.0)
        return torch.where(clear, 2 * share, 1.0)

    def _check(self, rgb: Tensor, rgb_mask: Tensor) -> None:
        rows, columns = rgb_mask.shape[1:]
        if rgb.size(2) % rows or rgb.size(3) % columns:
            raise ConfigError(
                'BodyGuidedRGB',
                f'pictures of {rgb.size(2)} x {rgb.size(3)} with a mask of {rows} x {columns}',
                'whole cells',
                'give the grids as CutRegions makes them',
            )
        if self.guided and rows != len(self.parts):
            raise ConfigError(
                'BodyGuidedRGB',
                f'grids of {rows} rows',
                f'{len(self.parts)}, one for each of parts={self.parts}',
                "set the model's and CutRegions's parts to the same",
            )


def rgb_width(config: dict) -> int:
    """Channels of the features of a picture stream, without spending memory or random numbers.

    Args:
        config: Of a :class:`BodyGuidedRGB`, or of another module with a 2-D ``backbone``.
    """
    with torch.device('meta'), torch.no_grad():
        network = MODELS.build(config).backbone
        network.eval()  # some networks of MMAction2 return nothing here
        return network(torch.empty(1, 3, 64, 64)).size(1)


def _part_matrix(layout: SkeletonLayout, parts: Sequence[str]) -> Tensor:
    """``(R, V)``: the mean over the joints of each part."""
    unknown = [part for part in parts if part not in layout.parts]
    if unknown or not parts:
        raise ConfigError(
            f'BodyGuidedRGB, layout {layout.name!r}',
            f'parts={tuple(parts)}',
            f'some of {tuple(layout.parts)}',
            'name parts of the layout, in the order of the rows of the grid',
        )
    matrix = torch.zeros(len(parts), layout.num_joints)
    for row, part in zip(matrix, parts, strict=True):
        row[layout.part_index(part).tolist()] = 1 / len(layout.parts[part])
    return matrix
