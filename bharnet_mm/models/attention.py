"""Pooling attention (BHaRNet's "P.A.M."): body and hands look at each other along frames, joints
and instances.
"""

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigError
from .instances import Instances

AXES = ('frame', 'joint', 'instance')


def axis_tokens(instances: Instances, axis: str) -> tuple[Tensor, Tensor]:
    """Averages features to a sequence along one axis, over the visible entries only.

    Args:
        instances (Instances): Features ``(P, C, V, T)``.
        axis (str): ``'frame'``, ``'joint'`` or ``'instance'``.

    Returns:
        tuple[Tensor, Tensor]: Tokens ``(N, L, C)`` with ``L`` = ``T``, ``V`` or ``I``, and their
        weights ``(N, L)``: how many visible (frame, instance) pairs stand behind each, 0 for none.
        The weighted mean of the tokens is :meth:`Instances.pool` on every axis.
    """
    x, mask = instances.x, instances.mask.to(instances.x.dtype)
    if axis == 'joint':
        # A product per instance: the weighted sum over time without a masked copy of x.
        total = instances.unpack(torch.matmul(x, mask[:, None, :, None]).squeeze(-1)).sum(
            1
        )  # (N, C, V)
        weight = instances.unpack(mask.sum(-1)).sum(1)[:, None].expand(-1, x.size(2))
    else:
        total, weight = x.mean(2) * mask[:, None], mask  # (P, C, T), (P, T)
        if axis == 'frame':
            total, weight = instances.unpack(total).sum(1), instances.unpack(weight).sum(1)
        else:
            total, weight = (
                instances.unpack(total.sum(-1)).transpose(1, 2),
                instances.unpack(weight.sum(-1)),
            )
    tokens = total.transpose(1, 2) / weight.clamp(min=1)[..., None]
    return tokens, weight


class CrossAttention(BaseModule):
    r"""Multi-head attention of one stream's tokens to the other's, with a residual.

    .. math:: y = x + W_o\,\mathrm{softmax}\big(Q K^\top / \sqrt{d_h}\big) V,\quad
        Q = W_q(\mathrm{LN}(x) + p),\; K, V = W_{k,v}(\mathrm{LN}'(z) + p')

    ``W_o`` starts at zero, so the layer starts as the identity. Tokens without weight are not
    attended to; where the other stream has none at all the layer is the identity.

    Args:
        channels (int): Channels of the own tokens.
        other_channels (int): Channels of the other's.
        embed_dims (int): Width of the attention over all heads.
        num_heads (int): Heads.
        length (int): Own tokens, for a learned position of each; 0 for none.
        other_length (int): The other's tokens, likewise.
        dropout (float): On the attention weights. Defaults to 0.

    Shapes:
        ``x (N, L, C)``, ``other (N, L', C')``, ``other_weight (N, L')`` → ``(N, L, C)``.
    """

    def __init__(
        self,
        channels: int,
        other_channels: int,
        embed_dims: int,
        num_heads: int,
        length: int = 0,
        other_length: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.norm, self.other_norm = nn.LayerNorm(channels), nn.LayerNorm(other_channels)
        self.query = nn.Linear(channels, embed_dims, bias=False)
        self.key_value = nn.Linear(other_channels, 2 * embed_dims, bias=False)
        self.out = nn.Linear(embed_dims, channels, bias=False)
        nn.init.zeros_(self.out.weight)
        self.position = self._position(length, channels)
        self.other_position = self._position(other_length, other_channels)

    @staticmethod
    def _position(length: int, channels: int) -> nn.Parameter | None:
        return (
            nn.Parameter(nn.init.trunc_normal_(torch.empty(length, channels), std=0.02))
            if length
            else None
        )

    @staticmethod
    def _add_position(x: Tensor, position: Tensor | None) -> Tensor:
        if position is None:
            return x
        if position.size(0) != x.size(1):  # another number of frames than in training
            position = F.interpolate(
                position.t()[None], size=x.size(1), mode='linear', align_corners=True
            )[0].t()
        return x + position

    def forward(self, x: Tensor, other: Tensor, other_weight: Tensor) -> Tensor:
        size, length, _ = x.shape
        query = self.query(self._add_position(self.norm(x), self.position))
        key, value = self.key_value(
            self._add_position(self.other_norm(other), self.other_position)
        ).chunk(2, dim=-1)
        query, key, value = (
            t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for t in (query, key, value)
        )
        visible = other_weight > 0
        some = visible.any(-1)
        # A clip without any token attends to all (zero) tokens instead of none, which would be NaN;
        # its result is dropped below.
        allowed = (visible | ~some[:, None])[:, None, None]
        y = F.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, dropout_p=self.dropout if self.training else 0.0
        )
        y = self.out(y.transpose(1, 2).reshape(size, length, -1))
        return x + y * some[:, None, None]


@MODELS.register_module()
class PoolingAttention(BaseModule):
    r"""Pooling attention between the body's and the hands' features, in both directions at once.

    For each axis ``a`` of frame, joint and instance both streams are averaged to a sequence of
    tokens along ``a``; each attends to the *other* stream's sequence of the same axis
    (:class:`CrossAttention`), and is averaged again. The vectors of the axes are summed:

    .. math:: f = \frac1{|A|} \sum_{a \in A} \mathrm{mean}\big(\mathrm{CrossAtt}_a(s_a, s'_a)\big)

    That there are three paths, that they cross-attend and that they are summed is read off the
    authors' figure; residual, zero-initialised output and the factor (which keep the result equal
    to average pooling at the start) and the widths are our choice. Averages are weighted by what is
    visible.

    Args:
        body_channels (int): Channels of the body's features.
        hand_channels (int): Channels of the hands' features.
        body_joints (int): Joints of the body, for the positions of its tokens.
        hand_joints (int): Joints of a hand. Defaults to 21.
        num_frames (int): Frames of the features, likewise; other lengths interpolate it. Defaults
            to 16.
        embed_dims (int): Attention width. Defaults to 64.
        num_heads (int): Defaults to 4.
        axes (Sequence[str]): Defaults to all of ``('frame', 'joint', 'instance')``.
        dropout (float): On the attention weights. Defaults to 0.

    Shapes:
        Two :class:`Instances` → ``(N, C_body)``, ``(N, C_hand)``.
    """

    def __init__(
        self,
        body_channels: int,
        hand_channels: int,
        body_joints: int,
        hand_joints: int = 21,
        num_frames: int = 16,
        embed_dims: int = 64,
        num_heads: int = 4,
        axes: tuple[str, ...] = AXES,
        dropout: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not axes or set(axes) - set(AXES):
            raise ConfigError(
                'PoolingAttention', f'axes={tuple(axes)}', f'some of {AXES}', 'correct axes'
            )
        self.axes = tuple(axes)
        self.body, self.hand = nn.ModuleDict(), nn.ModuleDict()
        for axis in self.axes:
            lengths = {
                'frame': (num_frames, num_frames),
                'joint': (body_joints, hand_joints),
                'instance': (0, 0),
            }[axis]
            self.body[axis] = CrossAttention(
                body_channels, hand_channels, embed_dims, num_heads, *lengths, dropout=dropout
            )
            self.hand[axis] = CrossAttention(
                hand_channels, body_channels, embed_dims, num_heads, *lengths[::-1], dropout=dropout
            )

    def forward(self, body: Instances, hand: Instances) -> tuple[Tensor, Tensor]:
        pooled = [0.0, 0.0]
        for axis in self.axes:
            tokens = [axis_tokens(stream, axis) for stream in (body, hand)]
            for i, attention in enumerate((self.body[axis], self.hand[axis])):
                (own, weight), (other, other_weight) = tokens[i], tokens[1 - i]
                y = attention(own, other, other_weight)
                share = weight / weight.sum(1, keepdim=True).clamp(min=1)
                pooled[i] = pooled[i] + torch.einsum('nlc,nl->nc', y, share)
        body_vector, hand_vector = (p / len(self.axes) for p in pooled)
        return body_vector, hand_vector
