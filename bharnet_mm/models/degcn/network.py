"""DeGCN: the network of an expert, for bodies or hands."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...errors import ConfigError
from ...layouts import SkeletonLayout, get_layout
from ...ops.inference_block import forget, inference_block
from ...ops.norm_act import folds, is_batch_norm, norm_act, track_statistics
from ...ops.shared import shared
from ..beside import side_by_side
from ..instances import Instances, pack
from .graph import CTRGraphConv, LearnedGraphConv
from .layers import Residual, norm_operands
from .temporal import MultiBranchTemporal


class DeGCNBlock(nn.Module):
    """One block: ``y = act(gcn(x) + res1(x))``, ``out = act(tcn(y) + res2(x))``.

    At inference the whole block is one operator, :func:`.inference_block`.

    Args:
        in_channels (int): Channels in.
        out_channels (int): Channels out.
        adjacency (np.ndarray): ``(S, V, V)``.
        stride (int): Temporal stride. Defaults to 1.
        first (bool): Whether it is the network's first block, which has a learned adjacency without
            refinement and no shortcuts. Defaults to False.
        groups (int): Groups of the products in CTR-GC and the shortcuts. Defaults to 4.
        num_samples (int): Samples of the deformable convolutions. Defaults to 4.

    Shapes:
        ``(P, C, V, T)`` → ``(P, O, V, ceil(T / stride))``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        adjacency,
        stride: int = 1,
        first: bool = False,
        groups: int = 4,
        num_samples: int = 4,
    ) -> None:
        super().__init__()
        if first:
            self.gcn = LearnedGraphConv(in_channels, out_channels, adjacency)
            self.gcn_residual = self.residual = None
        else:
            self.gcn = CTRGraphConv(in_channels, out_channels, adjacency, groups)
            self.gcn_residual = Residual(in_channels, out_channels, 1, groups)
            self.residual = Residual(in_channels, out_channels, stride, groups)
        self.tcn = MultiBranchTemporal(out_channels, stride, num_samples)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """``(P, C, V, T)`` → ``(P, O, V, ceil(T / stride))``; ``rows`` as in :func:`.norm_act`."""
        if folds(self):
            return inference_block(x, *self.operands(), self.tcn.stride, self.tcn.norm.eps)
        first = second = None
        if self.residual is not None:
            x, first, second = shared(x, 3)
            first, second = self.gcn_residual(first, rows), self.residual(second, rows)
        y = norm_act(self.gcn.norm, self.gcn.aggregate(x), first, rows=rows)
        return norm_act(self.tcn.norm, self.tcn.branches(y, rows), second, rows=rows)

    def operands(self) -> list[list[Tensor]]:
        """Parameters and statistics, as :func:`.inference_block` takes them."""
        first, second = (
            [] if shortcut is None else shortcut.operands()
            for shortcut in (self.gcn_residual, self.residual)
        )
        norm = norm_operands(self.gcn.norm)
        return [self.gcn.operands(), norm, first, self.tcn.operands(), second]

    def train(self, mode: bool = True) -> DeGCNBlock:
        """Sets the mode. The block is folded again at its next call, since weights may have
        changed.
        """
        forget(self.gcn.operands())
        return super().train(mode)


@MODELS.register_module()
class DeGCN(BaseModule):
    """Deformable graph convolutional network (Myung et al., IEEE TIP 2024), for any skeleton
    layout.

    Ten blocks: 64 channels x4, 128 x3, 256 x3 at ``base_channels=64``, and half the frames where
    the width doubles. As in the public release, the spatial operator is CTR-GC and the deformable
    one is temporal. The code was written from the descriptions of both.

    ``num_stream`` copies of the blocks after ``split_at`` run in parallel on the output of the
    blocks before. DeGCN itself has ``num_stream=2, split_at=0``. BHaRNet-E forks a shared network
    into an interactive and an expertized branch; in our reading of the figure this is
    ``num_stream=2, split_at=3``.

    Unlike earlier networks it runs on the present instances only. The first batch norm is shared by
    the persons (it has ``C·V`` channels, not ``M·C·V``), so an absent person does not change any
    statistic.

    Args:
        layout (str | dict | SkeletonLayout): The skeleton, see :func:`get_layout`.
        in_channels (int): Coordinates of a joint. Defaults to 3.
        base_channels (int): Width of the first stage; a multiple of ``4 * groups``. Defaults to 64.
        num_stream (int): Parallel streams. Defaults to 1.
        split_at (int): Number of blocks before the streams, 0 to ``num_blocks``. Defaults to 0.
        num_blocks (int): Defaults to 10.
        widen_at (Sequence[int]): Blocks (from 1) that double the width. Defaults to (5, 8).
        stride_at (Sequence[int]): Blocks that halve time. Defaults to (5, 8).
        groups (int): Groups of CTR-GC's products. Defaults to 4.
        num_samples (int): Samples of a deformable convolution. Defaults to 4.
        init_cfg (dict, optional): MMEngine's initialisation or checkpoint config.

    Shapes:
        As a backbone of a stock ``RecognizerGCN``: ``(N, M, T, V, C)`` → ``(N, M, num_stream·D, T',
        V)``, where ``D`` is the last width and the streams are concatenated. One linear classifier
        on top then equals DeGCN's sum of one classifier per stream. Empty slots (all zero) of a
        clip get the mean of its present ones, so a head that averages over persons averages the
        present ones.

        In BHaRNet: :meth:`forward_instances`.

    Raises:
        ConfigError: For widths, blocks or input shapes that do not fit.
    """

    def __init__(
        self,
        layout: str | dict | SkeletonLayout,
        in_channels: int = 3,
        base_channels: int = 64,
        num_stream: int = 1,
        split_at: int = 0,
        num_blocks: int = 10,
        widen_at: Sequence[int] = (5, 8),
        stride_at: Sequence[int] = (5, 8),
        groups: int = 4,
        num_samples: int = 4,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if base_channels % (4 * groups):
            raise ConfigError(
                'DeGCN',
                f'base_channels={base_channels}',
                f'a multiple of {4 * groups} (four temporal branches, {groups} groups)',
                'change base_channels or groups',
            )
        if not 0 <= split_at <= num_blocks:
            raise ConfigError(
                'DeGCN', f'split_at={split_at}', f'0 to num_blocks={num_blocks}', 'change split_at'
            )
        self.layout = get_layout(layout)
        self.in_channels, self.num_stream = in_channels, num_stream
        adjacency = self.layout.adjacency()

        def blocks(first: int, last: int) -> nn.Sequential:
            """Blocks ``first + 1 .. last``."""

            def width(block: int) -> int:
                return base_channels * 2 ** sum(block >= at for at in widen_at)

            return nn.Sequential(
                *(
                    DeGCNBlock(
                        in_channels if i == 1 else width(i - 1),
                        width(i),
                        adjacency,
                        stride=2 if i in stride_at else 1,
                        first=i == 1,
                        groups=groups,
                        num_samples=num_samples,
                    )
                    for i in range(first + 1, last + 1)
                )
            )

        self.data_norm = nn.BatchNorm1d(in_channels * self.layout.num_joints)
        self.stem = blocks(0, split_at)
        self.streams = nn.ModuleList(blocks(split_at, num_blocks) for _ in range(num_stream))
        self.num_features = base_channels * 2 ** sum(at <= num_blocks for at in widen_at)
        self.temporal_stride = 2 ** sum(1 <= at <= num_blocks for at in set(stride_at))
        self.norms = [m for m in self.modules() if is_batch_norm(m)]
        for norm in self.norms:
            norm.deferred = True  # their statistics are updated together

    def forward_features(self, x: Tensor, rows: Tensor | None = None) -> list[Tensor]:
        """``(P, C, V, T)`` → one ``(P, D, V, T')`` a stream; ``rows`` as in :func:`.norm_act`. The
        part worth compiling: no branch depends on data.
        """
        flat = norm_act(self.data_norm, x.flatten(1, 2), act=False, rows=rows)
        x = flat.view_as(x)
        for block in self.stem:
            x = block(x, rows)
        works = {
            f'stream {i}': partial(_run, blocks, x, rows) for i, blocks in enumerate(self.streams)
        }
        reads = [x] if rows is None else [x, rows]
        features = side_by_side(works, lambda y: [y], reads)
        if self.training:
            track_statistics(self.norms)
        return features

    def forward_instances(self, instances: Instances) -> list[Instances]:
        """Features of packed instances: one :class:`Instances` a stream."""
        self._check(instances.x.shape[2], instances.x.shape[1])
        first, *others = self.forward_features(instances.x, instances.count)
        first = instances.with_features(first, self.temporal_stride)
        return [first, *(first.with_features(x, 1) for x in others)]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The interface of MMAction2's recognizers.

        Args:
            x (Tensor): ``(N, M, T, V, C)``.
            mask (Tensor, optional): ``(N, M, T)`` bool. By default an instance with only zeros is
                absent, and all frames of the others are visible.
        """
        if x.dim() != 5:
            raise ConfigError(
                'DeGCN',
                f'an input of shape {tuple(x.shape)}',
                '(N, M, T, V, C)',
                'check the format transform of the pipeline',
            )
        self._check(x.shape[3], x.shape[4])
        if mask is None:
            mask = (x != 0).flatten(2).any(-1)[..., None].expand(*x.shape[:3])
        instances = pack(x, mask)
        streams = self.forward_instances(instances)
        features = torch.cat([s.x for s in streams], dim=1).transpose(
            2, 3
        )  # (P, num_stream·D, T', V)
        dense = instances.unpack(features)
        present = mask.any(-1).to(dense.dtype)[..., None, None, None]
        mean = dense.sum(1, keepdim=True) / present.sum(1, keepdim=True).clamp(min=1)
        return dense + (1 - present) * mean

    def _check(self, joints: int, channels: int) -> None:
        if joints != self.layout.num_joints or channels != self.in_channels:
            raise ConfigError(
                f'DeGCN for layout {self.layout.name!r}',
                f'{joints} joints with {channels} coordinates',
                f'{self.layout.num_joints} joints with {self.in_channels} coordinates',
                'give the backbone the layout and in_channels that the pipeline delivers',
            )


def _run(blocks: nn.Sequential, x: Tensor, rows: Tensor | None) -> Tensor:
    for block in blocks:
        x = block(x, rows)
    return x
