"""Spatial graph convolutions: one with a learned adjacency, and CTR-GC (channel-wise topology
refinement).
"""

import numpy as np
import torch
from torch import Tensor, nn

from ...ops.graph import graph_conv
from ...ops.norm_act import norm_act
from ...ops.refined_graph import refined_graph_conv
from .layers import Pointwise


class LearnedGraphConv(nn.Module):
    r"""Graph convolution with one learned adjacency per subset: DeGCN's first block ("ST-GC").

    .. math:: y_{o,u,t} = \mathrm{BN}\Big(\sum_{s,v} A_{s,u,v} \sum_c W_{s,o,c} x_{c,v,t}\Big)

    ``A`` starts as the spatial partition (self, inward, outward) of the layout and is trained.

    Args:
        in_channels (int): ``C``.
        out_channels (int): ``O``.
        adjacency (np.ndarray): ``(S, V, V)``, see :meth:`SkeletonLayout.adjacency`; ``[s, u, v]``
            is the weight with which joint ``u`` receives from ``v``.

    Shapes:
        ``(P, C, V, T)`` → ``(P, O, V, T)``.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: np.ndarray) -> None:
        super().__init__()
        self.num_subsets, self.num_joints = adjacency.shape[:2]
        self.adjacency = nn.Parameter(torch.tensor(adjacency, dtype=torch.float32))
        self.value = Pointwise(in_channels, out_channels * self.num_subsets, bias=True)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """``(P, C, V, T)`` → ``(P, O, V, T)``; ``rows`` as in :func:`.norm_act`."""
        return norm_act(self.norm, self.aggregate(x), act=False, rows=rows)

    def aggregate(self, x: Tensor) -> Tensor:
        """The sum over subsets and senders ``(P, O, V, T)``, before the batch norm."""
        return graph_conv(x, *self.operands())

    def operands(self) -> list[Tensor]:
        """Weight, bias and adjacency, as :func:`.graph_conv` takes them."""
        return [self.value.weight, self.value.bias, self.adjacency]


class CTRGraphConv(nn.Module):
    r"""Channel-wise topology refinement graph convolution (CTR-GC, Chen et al., ICCV 2021), grouped
    as in DeGCN's release.

    With query and key :math:`q = W_q \bar x,\ k = W_k \bar x` of the mean over time :math:`\bar
    x_{c,v} = \frac1T\sum_t x_{c,v,t}`,

    .. math::
        w_{s,o,u,v} = A_{s,u,v} + \alpha \Big(\sum_r W_{s,o,r} \tanh(q_{s,r,u} - k_{s,r,v}) +
        b_{s,o}\Big), \qquad y_{o,u,t} = \mathrm{BN}\Big(\sum_{s,v} w_{s,o,u,v} \sum_c V_{s,o,c}
        x_{c,v,t}\Big)

    for subsets ``s`` (self, inward, outward). ``A`` starts as the spatial partition and ``alpha``
    as 0; both are trained. All four products are grouped. It is computed by
    :func:`.refined_graph_conv`.

    Args:
        in_channels (int): ``C``.
        out_channels (int): ``O``.
        adjacency (np.ndarray): ``(S, V, V)``.
        groups (int): Groups of the products. Defaults to 4.

    Shapes:
        ``(P, C, V, T)`` → ``(P, O, V, T)``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        adjacency: np.ndarray,
        groups: int = 4,
    ) -> None:
        super().__init__()
        self.num_subsets, self.num_joints = adjacency.shape[:2]
        # R = C / 8 relation channels for each subset, and at least one in each group.
        relation = max(in_channels // 8, groups)
        self.adjacency = nn.Parameter(torch.tensor(adjacency, dtype=torch.float32))
        self.alpha = nn.Parameter(torch.zeros(()))
        self.query = Pointwise(in_channels, self.num_subsets * relation, groups, bias=True)
        self.key = Pointwise(in_channels, self.num_subsets * relation, groups, bias=True)
        self.value = Pointwise(in_channels, self.num_subsets * out_channels, groups, bias=True)
        refine = Pointwise(relation, out_channels * self.num_subsets, groups, bias=True)
        # (G, O/G, S, R/G) and (G, O/G, S)
        shape = groups, out_channels // groups, self.num_subsets
        self.refine_weight = nn.Parameter(refine.weight.detach().view(*shape, -1).clone())
        self.refine_bias = nn.Parameter(torch.zeros(shape))
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """``(P, C, V, T)`` → ``(P, O, V, T)``; ``rows`` as in :func:`.norm_act`."""
        return norm_act(self.norm, self.aggregate(x), act=False, rows=rows)

    def aggregate(self, x: Tensor) -> Tensor:
        """The sum over subsets and senders ``(P, O, V, T)``, before the batch norm."""
        return refined_graph_conv(x, *self.operands())

    def operands(self) -> list[Tensor]:
        """The parameters, as :func:`.refined_graph_conv` takes them."""
        projections = self.query, self.key, self.value
        return [
            *(t for projection in projections for t in (projection.weight, projection.bias)),
            self.refine_weight,
            self.refine_bias,
            self.alpha,
            self.adjacency,
        ]
