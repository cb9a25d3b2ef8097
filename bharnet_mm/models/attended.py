"""Adds pooling attention to a stock network on one graph of body and hands."""

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ..errors import ConfigError
from .instances import pack


@MODELS.register_module()
class AttendedBackbone(BaseModule):
    """A graph network of MMAction2 with :class:`PoolingAttention` in place of its pooling.

    The network gets one graph of body, left hand and right hand from
    ``FormatKeypoint(part='unified')``. Its features are split into bodies and hands, which attend
    to each other. A body or hand is missing in a frame if all its coordinates are zero.

    Args:
        backbone (dict): Config of a network from ``(N, M, T, V, C)`` to ``(N, M, D, T', V)``.
        channels (int): ``D``.
        body_joints (int): The first joints of the graph.
        hand_joints (int): Joints of each hand, which follow. Defaults to 21.
        attention (dict, optional): Further arguments of :class:`PoolingAttention`.

    Shapes:
        ``(N, M, T, V, C)`` → ``(N, 1, 2D, 1, 1)``, body and hands, for a stock ``GCNHead`` with
        ``in_channels=2D``.

    Raises:
        ConfigError: For another number of joints.
    """

    def __init__(
        self,
        backbone: dict,
        channels: int,
        body_joints: int,
        hand_joints: int = 21,
        attention: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.attention = MODELS.build(
            dict(
                type='PoolingAttention',
                body_channels=channels,
                hand_channels=channels,
                body_joints=body_joints,
                hand_joints=hand_joints,
            )
            | (attention or {})
        )
        self.body_joints, self.hand_joints = body_joints, hand_joints

    def forward(self, x: Tensor) -> Tensor:
        """``(N, M, T, V, C)`` → ``(N, 1, 2D, 1, 1)``: attended features of body and hands."""
        sizes = [self.body_joints, self.hand_joints, self.hand_joints]
        if x.size(3) != sum(sizes):
            raise ConfigError(
                'AttendedBackbone',
                f'{x.size(3)} joints',
                f'{self.body_joints} of the body and {self.hand_joints} of each hand',
                "use FormatKeypoint(part='unified'), or correct body_joints and hand_joints",
            )
        features = self.backbone(x).permute(0, 1, 3, 4, 2)  # (N, M, T', V, D)
        visible = [(part != 0).flatten(3).any(3) for part in x.split(sizes, 3)]  # (N, M, T) each
        stride = -(-x.size(2) // features.size(2))
        visible = [F.max_pool1d(s.float(), stride, stride, ceil_mode=True) > 0 for s in visible]
        body, *hands = features.split(sizes, 3)
        streams = (
            pack(body, visible[0]),
            pack(torch.cat(hands, 1), torch.cat(visible[1:], 1)),
        )
        return torch.cat(self.attention(*streams), 1)[:, None, :, None, None]
