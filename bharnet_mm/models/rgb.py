"""An rgb expert of BHaRNet-M: a network on region grids, weighted by the body expert."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ..errors import ConfigError
from ..layouts import REGION_PARTS, SkeletonLayout
from .body_guide import BodyGuide
from .image_network import IMAGENET, build_image_network, channels_last, map_width
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
    r"""A 2-D network on region grids, whose rows are weighted by the strength of the body's
    features.

    The weights, :meth:`BodyGuide.of_clip`, multiply the rows of the normalised grid.

    Missing regions are set to zero, the mean colour. Clips without any region are left out of the
    network and its statistics, and get zero features.

    It can also be the backbone of MMAction2's ``Recognizer2D``. Called with grids only, it applies
    no weights.

    Args:
        backbone (dict): Config of a 2-D network of MMAction2, ``dict(type='ResNet', depth=18)``, or
            of timm, see :func:`build_image_network`.
        layout (str | dict | SkeletonLayout, optional): Skeleton of the body expert; without one the
            regions are not weighted.
        parts (Sequence[str]): Rows of the grid from the top, parts of the layout. Defaults to head,
            wrists, ankles.
        top_ratio (float): Share of time whose mean is the weight. Defaults to 0.2 (MMNet: 15 of 75
            positions).
        detach (bool): Whether no gradient flows through the weights to the body expert. Defaults to
            True.

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
        self.backbone = build_image_network(backbone)
        self.parts = tuple(parts)
        self.guide = None if layout is None else BodyGuide(layout, self.parts, top_ratio, detach)

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the images that the weights were trained on."""
        return getattr(self.backbone, 'normalisation', IMAGENET)

    def forward(
        self,
        rgb: Tensor,
        rgb_mask: Tensor | None = None,
        body: list[Instances] | None = None,
        num_present: int | None = None,
        num_cells: int | None = None,
    ) -> Tensor:
        """Features ``(N, D, h, w)`` of ``rgb (N, 3, H, W)`` and ``rgb_mask (N, R, F)``.
        ``num_present`` is the number of clips with a region, if the host knows it. ``num_cells`` is
        not used.
        """
        if rgb_mask is None:
            return self.backbone(channels_last(rgb))
        self._check(rgb, rgb_mask)
        factor = rgb_mask.to(rgb.dtype)
        if self.guide is not None and body is not None:
            factor = factor * self.region_weights(body)[:, :, None].to(rgb.dtype)
        rows, columns = rgb_mask.shape[1:]
        cells = rgb.unflatten(2, (rows, -1)).unflatten(4, (columns, -1))  # (N, 3, R, h, F, w)
        # Values of masked cells, also NaN, are replaced and not multiplied.
        cells = cells.masked_fill(~rgb_mask[:, None, :, None, :, None], 0)
        grids = (cells * factor[:, None, :, None, :, None]).reshape(rgb.shape)
        grids = channels_last(grids)
        return on_present(self.backbone, grids, rgb_mask.flatten(1).any(1), num_present)

    def region_weights(self, body: list[Instances]) -> Tensor:
        """Weight of each part's regions, from 0 to 2: ``(N, R)``, float32 or better.

        The features of several streams are treated as one vector.
        """
        return self.guide.of_clip(body)

    def _check(self, rgb: Tensor, rgb_mask: Tensor) -> None:
        rows, columns = rgb_mask.shape[1:]
        if rgb.size(2) % rows or rgb.size(3) % columns:
            raise ConfigError(
                'BodyGuidedRGB',
                f'images of {rgb.size(2)} x {rgb.size(3)} with a mask of {rows} x {columns}',
                'whole cells',
                'give the grids as CutRegions makes them',
            )
        if self.guide is not None and rows != len(self.parts):
            raise ConfigError(
                'BodyGuidedRGB',
                f'grids of {rows} rows',
                f'{len(self.parts)}, one for each of parts={self.parts}',
                "set the model's and CutRegions's parts to the same",
            )


def rgb_width(config: dict) -> int:
    """Number of channels of an rgb expert's features, found without memory or random numbers.

    Args:
        config: Config of a :class:`BodyGuidedRGB`, a :class:`RegionEncoder`, or of another module
            with ``num_features`` or a 2-D ``backbone``.
    """
    with torch.device('meta'), torch.no_grad():
        module = MODELS.build(config)
        return getattr(module, 'num_features', None) or map_width(module.backbone)
