"""Spatial graph operators: a plain one with a learned adjacency and CTR-GC (channel-wise topology
refinement).
"""

import numpy as np
import torch
from torch import Tensor, nn

from .layers import Pointwise


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
        size, _, joints, frames = x.shape
        value = self.value(x).view(size * self.out_channels, self.num_subsets * joints, frames)
        # (V, K·V): all subsets in one product.
        mix = (
            self.adjacency.permute(1, 0, 2)
            .reshape(joints, self.num_subsets * joints)
            .to(value.dtype)
        )
        y = torch.bmm(mix.expand(value.size(0), -1, -1), value)
        return self.norm(y.view(size, self.out_channels, joints, frames))


class _RefinedAggregation(torch.autograd.Function):
    """``y = (W R)^T v``: builds the refined topology ``W R`` and aggregates with it.

    The topology is several times the size of the features. It is not kept for the backward pass but
    built again there (a product of small depth), and its gradient is written in the layout in which
    it is read next: autograd alone would store the one and copy the other.

    Shapes:
        weight ``W (G, O/G·S, R)``, relation ``(P, G, R, V·V)``, value ``(P, O, S·V, T)`` →
        ``(P, O, V, T)``.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, relation: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(weight, relation, value)
        topology = _RefinedAggregation.topology(weight, relation, value)
        y = torch.bmm(topology.transpose(1, 2), value.flatten(0, 1))
        return y.view(*value.shape[:2], *y.shape[1:])

    @staticmethod
    def topology(weight: Tensor, relation: Tensor, value: Tensor) -> Tensor:
        """``(P·O, S·V, V)``."""
        size, channels, rows, _ = value.shape
        joints = rows * channels // weight.shape[:2].numel()
        refined = torch.bmm(weight.repeat(size, 1, 1), relation.flatten(0, 1))
        return refined.view(size * channels, rows, joints)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, relation, value = ctx.saved_tensors
        size, groups = relation.shape[:2]
        grad = grad.contiguous().flatten(0, 1)
        topology = _RefinedAggregation.topology(weight, relation, value)
        grad_value = torch.bmm(topology, grad).view_as(value)
        grad_topology = torch.bmm(value.flatten(0, 1), grad.transpose(1, 2))
        grad_topology = grad_topology.view(size * groups, weight.size(1), relation.size(3))
        flat = relation.flatten(0, 1)
        grad_relation = torch.bmm(weight.transpose(1, 2).repeat(size, 1, 1), grad_topology)
        grad_weight = torch.bmm(grad_topology, flat.transpose(1, 2)).view(size, *weight.shape)
        return grad_weight.sum(0), grad_relation.view_as(relation), grad_value


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
    ``A`` enter as extra rows of the product that builds ``w``, so the largest tensor is written
    once and never touched again; and the subsets are summed inside one product of depth ``S·V``.

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

    def _topology(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The refined adjacency as two factors, ``W (G, O/G·S, R')`` and ``(P, G, R', V·V)``.

        Rows of their product: channel and subset; columns: sender ``v`` and receiver ``u``.
        """
        size, _, joints, _ = x.shape
        groups, subsets = self.groups, self.num_subsets
        depth = subsets * self.relation // groups
        mean = x.mean(-1)
        # Channels of query and key are ordered (group, subset, relation).
        query = self.query(mean).view(size, groups, depth, 1, joints)
        key = self.key(mean).view(size, groups, depth, joints, 1)
        relation = torch.tanh(query - key).flatten(3)
        # Rows that carry alpha·b and A: ones, and one row a subset.
        ones = self.adjacency.new_ones(1, joints, joints)
        constant = torch.cat((ones, self.adjacency.transpose(1, 2))).flatten(1)
        constant = constant.to(relation.dtype).expand(size, groups, -1, -1)
        relation = torch.cat((relation, constant), dim=2)

        eye = torch.eye(subsets, device=x.device, dtype=self.refine_weight.dtype)
        # Block-diagonal over subsets: output (o, s) reads relation channels of its own subset only.
        weight = torch.einsum('gosr,st->gostr', self.alpha * self.refine_weight, eye)
        weight = weight.reshape(groups, -1, depth)
        bias = (self.alpha * self.refine_bias).reshape(groups, -1, 1)
        own = eye.repeat(self.out_channels // groups, 1).expand(groups, -1, -1)
        return torch.cat((weight, bias, own), dim=2).to(relation.dtype), relation

    def forward(self, x: Tensor) -> Tensor:
        size, _, joints, frames = x.shape
        weight, relation = self._topology(x)
        value = self.value(x).view(size, self.out_channels, self.num_subsets * joints, frames)
        return self.norm(_RefinedAggregation.apply(weight, relation.to(value.dtype), value))

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
