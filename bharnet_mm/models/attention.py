"""Pooling attention (BHaRNet's "P.A.M."): body and hands attend to each other along frames, joints
and instances.
"""

import functools
import math

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..ops import is_plain
from ..ops.pooling import AXES, axis_tokens
from .instances import Instances


def stretch(x: Tensor, length: int) -> Tensor:
    """Interpolates rows linearly with aligned ends: ``(L, C)`` → ``(length, C)``."""
    place = torch.arange(length, device=x.device, dtype=x.dtype)
    place = place * ((x.size(0) - 1) / torch.sym_max(length - 1, 1))
    low = place.long().clamp(max=x.size(0) - 1)
    high = (low + 1).clamp(max=x.size(0) - 1)
    return torch.lerp(x[low], x[high], (place - low)[:, None])


class CrossAttention(BaseModule):
    r"""Multi-head attention of one expert's tokens to the other's, with a residual.

    .. math:: y = x + W_o\,\mathrm{softmax}\big(Q K^\top / \sqrt{d_h}\big) V,\quad
        Q = W_q(\mathrm{LN}(x) + p),\; K, V = W_{k,v}(\mathrm{LN}'(z) + p')

    ``W_o`` starts at zero, so the layer starts as the identity. Tokens with weight 0 are not
    attended to. If the other expert has no token with weight, the layer is the identity.

    Args:
        channels (int): Channels of the own tokens.
        other_channels (int): Channels of the other's.
        embed_dims (int): Width of the attention over all heads.
        num_heads (int): Number of heads.
        length (int): Number of own tokens, each with a learned position; 0 for no positions.
        other_length (int): The same for the other's tokens.
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
    def fitted(position: Tensor | None, length: int) -> Tensor | None:
        """Positions ``(L, C)`` for another number of frames than in training."""
        # During an export the length is symbolic and cannot be compared with the trained one.
        if position is None or (isinstance(length, int) and position.size(0) == length):
            return position
        return stretch(position, length)

    def forward(self, x: Tensor, other: Tensor, other_weight: Tensor) -> Tensor:
        """``(N, L, C)``, ``(N, L', C')``, ``(N, L')`` → ``(N, L, C)``."""
        size, length, _ = x.shape
        query, key, value, allowed = self._heads(x, other, other_weight)
        y = F.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, dropout_p=self.dropout if self.training else 0.0
        )
        y = self.out(y.transpose(1, 2).reshape(size, length, -1))
        return x + y * (other_weight > 0).any(-1)[:, None, None]

    def weights(self, x: Tensor, other: Tensor, other_weight: Tensor) -> Tensor:
        """The attention weights, which :meth:`forward` does not return.

        Shapes:
            Inputs as in :meth:`forward` → ``(N, heads, L, L')`` float32; rows sum to 1.
        """
        query, key, _, allowed = self._heads(x, other, other_weight)
        z = query.float() @ key.float().transpose(-1, -2) / math.sqrt(query.size(-1))
        return z.masked_fill(~allowed, -math.inf).softmax(-1)

    def _heads(self, x: Tensor, other: Tensor, other_weight: Tensor) -> tuple[Tensor, ...]:
        """Query ``(N, H, L, d)``, key and value ``(N, H, L', d)``, and a mask ``(N, 1, 1, L')``
        bool of the tokens that may be attended to.
        """
        query, other = self.norm(x), self.other_norm(other)
        if self.position is not None:
            query = query + self.fitted(self.position, x.size(1))
            other = other + self.fitted(self.other_position, other.size(1))
        query = self.query(query)
        key, value = self.key_value(other).chunk(2, dim=-1)
        query, key, value = (
            t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for t in (query, key, value)
        )
        visible = other_weight > 0
        # In a clip without tokens, all (zero) tokens are attended to, since none would give NaN.
        # `forward` drops the result.
        allowed = (visible | ~visible.any(-1)[:, None])[:, None, None]
        return query, key, value, allowed


@MODELS.register_module()
class PoolingAttention(BaseModule):
    r"""Pooling attention between the body's and the hands' features, in both directions at once.

    For each axis ``a`` of frame, joint and instance, the features of both experts are averaged to a
    sequence of tokens along ``a``. Each sequence attends to the *other* expert's sequence of the
    same axis (:class:`CrossAttention`) and is averaged again. The vectors of the axes are summed:

    .. math:: f = \frac1{|A|} \sum_{a \in A} \mathrm{mean}\big(\mathrm{CrossAtt}_a(s_a, s'_a)\big)

    The three paths, the cross-attention and the sum are taken from the authors' figure. The
    residual, the zero-initialised output, the factor (with which the result equals average pooling
    at first) and the widths are our choice. Averages are weighted by the mask.

    Args:
        body_channels (int): Channels of the body's features.
        hand_channels (int): Channels of the hands' features.
        body_joints (int): Joints of the body, for the positions of its tokens.
        hand_joints (int): Joints of a hand. Defaults to 21.
        num_frames (int): Frames of the features, for the positions of the tokens. They are
            interpolated for other lengths. Defaults to 16.
        embed_dims (int): Attention width. Defaults to 64.
        num_heads (int): Defaults to 4.
        axes (Sequence[str]): Defaults to all of ``('frame', 'joint', 'instance')``.
        dropout (float): On the attention weights. Defaults to 0.

    Shapes:
        Two :class:`Instances` → ``(N, C_body)``, ``(N, C_hand)``.

    Raises:
        ConfigError: For unknown axes.
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

    def forward(
        self, body: Instances, hand: Instances, alone: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Features of the bodies and hands of ``N`` clips → ``(N, C_body)``, ``(N, C_hand)``.

        With ``alone`` the results are ``(2, N, C_body)`` and ``(2, N, C_hand)``: after the attended
        features those that the clip has if the other stream is missing, which are averages.
        """
        lengths = [(s.x.size(3), s.x.size(2), s.num_slots) for s in (body, hand)]
        longest = functools.reduce(torch.sym_max, lengths[0] + lengths[1])
        streams = []
        for s in (body, hand):
            tokens = axis_tokens(s.x, s.mask, s.clip, s.slot, s.num_clips, s.num_slots, longest)
            if self.axes != AXES:
                tokens = [t[[AXES.index(axis) for axis in self.axes]] for t in tokens]
            streams.append(tokens)
        lengths = [[own[AXES.index(axis)] for axis in self.axes] for own in lengths]
        layers = [[own[axis] for axis in self.axes] for own in (self.body, self.hand)]
        if is_plain() or streams[0][0].size(-1) != streams[1][0].size(-1):
            function = _by_layer if is_plain() else _together
            arguments = [(layers[i], len(self.axes), lengths[i], lengths[1 - i]) for i in (0, 1)]
            both = [function(*arguments[i], streams[i], streams[1 - i]) for i in (0, 1)]
            both = [pooled[:, 0] for pooled in both]
        else:  # both directions at once
            own = [torch.cat(pair) for pair in zip(*streams, strict=True)]
            other = [torch.cat(pair) for pair in zip(*streams[::-1], strict=True)]
            both = _together(
                layers[0] + layers[1],
                len(self.axes),
                lengths[0] + lengths[1],
                lengths[1] + lengths[0],
                own,
                other,
            ).unbind(1)
        both = both if alone else [pooled[0] for pooled in both]
        return both[0].to(body.x.dtype), both[1].to(hand.x.dtype)


def _by_layer(
    layers: list[CrossAttention],
    axes: int,
    lengths: list[int],
    other_lengths: list[int],
    own: tuple[Tensor, Tensor],
    other: tuple[Tensor, Tensor],
) -> Tensor:
    """The equation, axis by axis, for one direction: ``(2, 1, N, C)``, with and without the other
    stream. It is the reference of :func:`_together`.
    """
    pooled = 0.0
    for i, layer in enumerate(layers):
        x, weight = (t[i, :, : lengths[i]] for t in own)
        y = layer(x, *(t[i, :, : other_lengths[i]] for t in other))
        share = weight / weight.sum(1, keepdim=True).clamp(min=1)
        pooled = pooled + torch.einsum('snlc,nl->snc', torch.stack([y, x]), share)
    return pooled[:, None] / axes


def _together(
    layers: list[CrossAttention],
    axes: int,
    lengths: list[int],
    other_lengths: list[int],
    own: tuple[Tensor, Tensor],
    other: tuple[Tensor, Tensor],
) -> Tensor:
    """Computes all layers of equal widths in few products: tokens ``(D, N, L, C)`` and weights
    ``(D, N, L)``, padded to one length → the mean over the axes of each direction, with and without
    the other stream, ``(2, D / axes, N, C)``.

    Padding has weight 0, so it is not attended to and not averaged. Averaging is linear and
    therefore done before the output projection.
    """
    (x, weight), (other_x, other_weight) = own, other
    depth, size, length, channels = x.shape
    heads = layers[0].num_heads
    query = _projected(
        x,
        [layer.norm for layer in layers],
        [layer.fitted(layer.position, n) for layer, n in zip(layers, lengths, strict=True)],
        [layer.query for layer in layers],
    )
    key_value = _projected(
        other_x,
        [layer.other_norm for layer in layers],
        [
            layer.fitted(layer.other_position, n)
            for layer, n in zip(layers, other_lengths, strict=True)
        ],
        [layer.key_value for layer in layers],
    )
    query = query.view(depth * size, length, heads, -1).transpose(1, 2)
    key, value = key_value.view(depth * size, length, 2, heads, -1).permute(2, 0, 3, 1, 4)
    other_present = other_weight.clamp(max=1)
    # If the other expert is absent, all tokens are attended to equally and the result is dropped.
    bias = ((other_present - 1) * 1e30).to(query.dtype).view(depth * size, 1, 1, length)
    dropout = layers[0].dropout if layers[0].training else 0.0
    y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
    y = y.transpose(1, 2).reshape(depth, size, length, -1)
    share = (weight / weight.sum(-1, keepdim=True).clamp(min=1))[..., None]
    out = torch.stack([layer.out.weight for layer in layers])
    change = torch.bmm((share * y).sum(2).to(out.dtype), out.transpose(1, 2))
    mean = (share * x).sum(2)
    pooled = torch.addcmul(mean, change, other_present.amax(-1, keepdim=True))
    return torch.stack([pooled, mean]).view(2, -1, axes, size, channels).mean(2)


def _projected(
    x: Tensor,
    norms: list[nn.LayerNorm],
    positions: list[Tensor | None],
    linears: list[nn.Linear],
) -> Tensor:
    """``linear(norm(x) + position)`` by ``D`` layers: ``(D, N, L, C)`` → ``(D, N·L, E)``."""
    depth, size, length, channels = x.shape
    weight = torch.stack([linear.weight for linear in linears])
    scale, shift = (
        torch.stack([getattr(norm, name) for norm in norms]).view(depth, 1, 1, channels)
        for name in ('weight', 'bias')
    )
    if any(position is not None for position in positions):
        zeros = shift.new_zeros(length, channels)
        rows = [zeros[:0] if position is None else position for position in positions]
        rows = [part for row in rows for part in (row, zeros[len(row) :])]
        shift = shift + torch.cat(rows).view(depth, 1, length, channels)
    x = torch.addcmul(shift, F.layer_norm(x, (channels,), eps=norms[0].eps), scale)
    return torch.bmm(
        x.to(weight.dtype).view(depth, size * length, channels), weight.transpose(1, 2)
    )
