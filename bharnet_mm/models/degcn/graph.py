"""Spatial graph operators: a plain one with a learned adjacency and CTR-GC (channel-wise topology
refinement).
"""

import numpy as np
import torch
from torch import Tensor, nn

from ...ops.refined_graph import refined_graph_conv
from .layers import Pointwise, pointwise


class LearnedGraphConv(nn.Module):
    r"""Graph convolution with one learned adjacency per subset: DeGCN's first block ("ST-GC").

    .. math:: y_{o,u,t} = \mathrm{BN}\Big(\sum_{k,v} A_{k,u,v} \sum_c W_{k,o,c} x_{c,v,t}\Big)

    ``A`` starts as the spatial partition (self, inward, outward) of the layout and is trained.

    Args:
        in_channels (int): ``C``.
        out_channels (int): ``O``.
        adjacency (np.ndarray): ``(K, V, V)``, see :meth:`SkeletonLayout.adjacency`; ``[k, u, v]``
            is the weight with which joint ``u`` receives from ``v``.

    Shapes:
        ``(P, C, V, T)`` → ``(P, O, V, T)``.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: np.ndarray) -> None:
        super().__init__()
        self.num_subsets, self.num_joints = adjacency.shape[:2]
        self.out_channels = out_channels
        self.adjacency = nn.Parameter(torch.tensor(adjacency, dtype=torch.float32))
        self.value = Pointwise(in_channels, out_channels * self.num_subsets, bias=True)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.aggregate(x))

    def aggregate(self, x: Tensor) -> Tensor:
        """The sum over subsets and senders, before the batch norm.

        Aggregates first and projects after, which is the same and a tenth of the work where ``C`` is
        small.
        """
        return self.mix(x, *self.operands())

    def operands(
        self, scale: Tensor | None = None, shift: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Adjacency ``(K·V, V)``, weight ``(1, O, C·K)`` and bias ``(O, V)``; with ``scale`` and
        ``shift`` ``(O,)``, those of the output folded in.
        """
        weight = self.value.weight.view(self.out_channels, self.num_subsets, -1)
        weight = weight.transpose(1, 2).flatten(1)
        bias = self.value.bias.view(self.out_channels, -1) @ self.adjacency.sum(-1)
        if scale is not None:
            weight, bias = weight * scale[:, None], bias * scale[:, None] + shift[:, None]
        return self.adjacency.flatten(0, 1), weight[None], bias

    def mix(self, x: Tensor, adjacency: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Products with :meth:`operands`."""
        size, channels, joints, frames = x.shape
        adjacency = adjacency.to(x.dtype).expand(size * channels, -1, -1)
        gathered = torch.bmm(adjacency, x.flatten(0, 1))
        gathered = gathered.view(size, channels * self.num_subsets, joints, frames)
        return pointwise(gathered, weight).add_(bias[..., None])

    def plain_forward(self, x: Tensor) -> Tensor:
        """The same result in the order of the equation. For tests and benchmarks."""
        value = self.value(x).unflatten(1, (self.out_channels, self.num_subsets))
        return self.norm(torch.einsum('kuv,pokvt->pout', self.adjacency, value))


class CTRGraphConv(nn.Module):
    r"""Channel-wise topology refinement graph convolution (CTR-GC, Chen et al., ICCV 2021), grouped
    as in DeGCN's release.

    With query and key :math:`q = W_q \bar x,\ k = W_k \bar x` of the mean over time :math:`\bar
    x_{c,v} = \frac1T\sum_t x_{c,v,t}`,

    .. math::
        w_{s,o,u,v} = A_{s,u,v} + \alpha \Big(\sum_r W_{s,o,r} \tanh(q_{s,r,u} - k_{s,r,v}) +
        b_{s,o}\Big), \qquad y_{o,u,t} = \mathrm{BN}\Big(\sum_{s,v} w_{s,o,u,v} \sum_c V_{s,o,c}
        x_{c,v,t}\Big)

    for subsets ``s`` (self, inward, outward). ``A`` is trained from the spatial partition,
    ``alpha`` from 0. All four products are grouped.

    Three identities make it fast, with unchanged results: the mean over time is taken *before* the
    (linear) projection; ``alpha``, ``b`` and
    ``A`` enter as extra rows of the product that builds ``w``; and the subsets are summed inside
    one product of depth ``S·V``.

    Args:
        in_channels (int): ``C``.
        out_channels (int): ``O``.
        adjacency (np.ndarray): ``(S, V, V)``.
        groups (int): Groups of the products. Defaults to 4.
        reduction (int): ``R = C / reduction`` relation channels per subset. Defaults to 8.

    Shapes:
        ``(P, C, V, T)`` → ``(P, O, V, T)``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        adjacency: np.ndarray,
        groups: int = 4,
        reduction: int = 8,
    ) -> None:
        super().__init__()
        self.num_subsets, self.num_joints = adjacency.shape[:2]
        self.out_channels, self.groups = out_channels, groups
        # At least one relation channel in each group, however narrow the network.
        self.relation = max(in_channels // reduction, groups)
        self.adjacency = nn.Parameter(torch.tensor(adjacency, dtype=torch.float32))
        self.alpha = nn.Parameter(torch.zeros(()))
        self.query = Pointwise(in_channels, self.num_subsets * self.relation, groups, bias=True)
        self.key = Pointwise(in_channels, self.num_subsets * self.relation, groups, bias=True)
        self.value = Pointwise(in_channels, self.num_subsets * out_channels, groups, bias=True)
        refine = Pointwise(self.relation, out_channels * self.num_subsets, groups, bias=True)
        # (G, O/G, S, R/G) and (G, O/G, S): outputs lie in the order (channel, subset) that the last
        # product reads.
        self.refine_weight = nn.Parameter(
            refine.weight.detach()
            .view(groups, out_channels // groups, self.num_subsets, -1)
            .clone()
        )
        self.refine_bias = nn.Parameter(
            torch.zeros(groups, out_channels // groups, self.num_subsets)
        )
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.aggregate(x))

    def aggregate(self, x: Tensor) -> Tensor:
        """The sum over subsets and senders, before the batch norm."""
        x = x.contiguous()
        weights = self.operands()
        query, key = self.relate(x, *weights[3:])
        x, *weights = (t.to(query.dtype) for t in (x, *weights[:3]))
        return refined_graph_conv(x, *weights, query, key, self.adjacency.to(x.dtype))

    def relate(self, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys ``(P, G, D, V)`` by one product with the mean over time."""
        both = pointwise(x.mean(-1), weight, bias)
        depth = both.size(1) // (2 * self.groups)
        return both.view(x.size(0), self.groups, 2, depth, x.size(2)).unbind(2)

    def operands(self) -> tuple[Tensor, ...]:
        """Value ``U``, bias ``b`` and weight ``W`` of :func:`refined_graph_conv`, and the joined
        weight and bias of query and key. Functions of the parameters alone.
        """
        groups, subsets = self.groups, self.num_subsets
        eye = torch.eye(subsets, device=self.alpha.device, dtype=self.alpha.dtype)
        # Block-diagonal over subsets: output (o, s) reads relation channels of its own subset only.
        weight = torch.einsum('gosr,st->gostr', self.alpha * self.refine_weight, eye)
        weight = weight.reshape(groups, self.refine_bias[0].numel(), -1)
        bias = (self.alpha * self.refine_bias).reshape(groups, -1, 1)
        own = eye.repeat(self.out_channels // groups, 1).expand(groups, -1, -1)
        relate = (torch.cat((self.query.weight, self.key.weight), dim=1),)
        relate += (
            torch.stack([m.bias.view(groups, -1) for m in (self.query, self.key)], 1).flatten(),
        )
        refine = torch.cat((weight, bias, own), dim=2)
        return self.value.weight, self.value.bias.view(groups, -1), refine, *relate

    def plain_forward(self, x: Tensor) -> Tensor:
        """The same result the way the equation reads: project, then average; build ``w`` subset by
        subset. For tests and benchmarks.
        """
        size, _, joints, frames = x.shape
        groups, subsets, out = self.groups, self.num_subsets, self.out_channels
        query = self.query(x).mean(-1).view(size, groups, subsets, self.relation // groups, joints)
        key = self.key(x).mean(-1).view(size, groups, subsets, self.relation // groups, joints)
        relation = torch.tanh(query.unsqueeze(-1) - key.unsqueeze(-2))  # (P, G, S, R/G, u, v)
        refined = torch.einsum('gosr,pgsruv->psgouv', self.refine_weight, relation)
        refined = refined + self.refine_bias.permute(2, 0, 1)[None, ..., None, None]
        refined = (
            refined.reshape(size, subsets, out, joints, joints) * self.alpha
            + self.adjacency[None, :, None]
        )
        value = self.value(x).view(size, out, subsets, joints, frames)
        return self.norm(torch.einsum('psouv,posvt->pout', refined, value))
