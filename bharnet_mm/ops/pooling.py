r"""Averages of packed features along frames, joints and instances of a clip, weighted by the mask.

For the instances ``p`` of clip ``n`` with features ``x (P, C, V, T)`` and visible frames ``m (P,
T)``, the tokens along the three axes are

.. math::
    f_{n,t} = \frac{\sum_p m_{p,t} \bar x_{p,t}}{\sum_p m_{p,t}}, \quad
    j_{n,v} = \frac{\sum_{p,t} m_{p,t} x_{p,v,t}}{\sum_{p,t} m_{p,t}}, \quad
    i_{n,s} = \frac{\sum_t m_{p(n,s),t} \bar x_{p(n,s),t}}{\sum_t m_{p(n,s),t}}

with the mean :math:`\bar x` over joints. The weights are the denominators. If nothing is visible,
weight and token are zero. The weighted mean of the tokens is the same on every axis: the average
over all visible features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import define, is_plain, wide

#: The axes in the order of the tokens.
AXES = ('frame', 'joint', 'instance')


def axis_tokens(
    x: Tensor,
    mask: Tensor,
    clip: Tensor,
    slot: Tensor,
    clips: int,
    slots: int,
    length: int,
) -> tuple[Tensor, Tensor]:
    """Tokens of the three axes, padded with zeros to one length.

    Args:
        x (Tensor): ``(P, C, V, T)``.
        mask (Tensor): ``(P, T)`` bool, the visible frames.
        clip (Tensor): ``(P,)`` which clip an instance belongs to; ``clips`` for padding.
        slot (Tensor): ``(P,)`` which of the clip's slots it fills.
        clips (int): ``N``.
        slots (int): ``I``.
        length (int): ``L``, at least the largest of ``T``, ``V`` and ``I``.

    Returns:
        tuple[Tensor, Tensor]: Tokens ``(3, N, L, C)`` and weights ``(3, N, L)``, in float32 at
        least.
    """
    function = reference if is_plain() else OPERATOR
    return function(x, mask, clip, slot, clips, slots, length)


def reference(
    x: Tensor, mask: Tensor, clip: Tensor, slot: Tensor, clips: int, slots: int, length: int
) -> tuple[Tensor, Tensor]:
    """The equations, on a dense ``(N, I, C, V, T)`` copy of the features."""
    x = x.to(wide(x.dtype))
    place = clip * slots + slot
    dense = x.new_zeros((clips + 1) * slots, *x.shape[1:]).index_copy(0, place, x)
    visible = x.new_zeros((clips + 1) * slots, mask.size(1)).index_copy(0, place, mask.to(x.dtype))
    dense = (
        dense.unflatten(0, (-1, slots))[:clips]
        * visible.view(-1, slots, 1, 1, mask.size(1))[:clips]
    )
    visible = visible.unflatten(0, (-1, slots))[:clips]
    total = visible.sum((1, 2))[:, None].expand(-1, x.size(2))
    pairs = (
        (dense.mean(3).sum(1), visible.sum(1)),
        (dense.sum((1, 4)), total),
        (dense.mean(3).sum(3).transpose(1, 2), visible.sum(2)),
    )
    return _stacked([t for t, _ in pairs], [w for _, w in pairs], length)


def _stacked(totals: list[Tensor], weights: list[Tensor], length: int) -> tuple[Tensor, Tensor]:
    """Sums ``(N, C, l)`` and weights ``(N, l)`` of three lengths → tokens and weights."""
    weight = torch.stack([F.pad(w, (0, length - w.size(1))) for w in weights])
    total = torch.stack([F.pad(t, (0, length - t.size(2))) for t in totals])
    return total.transpose(2, 3) / weight.clamp(min=1)[..., None], weight


def _axis_tokens(
    x: Tensor, mask: Tensor, clip: Tensor, slot: Tensor, clips: int, slots: int, length: int
) -> tuple[Tensor, Tensor]:
    kind = wide(x.dtype)
    visible = mask.to(x.dtype)
    frames = x.mean(2, dtype=kind) * visible[:, None]  # (P, C, T)
    # One product for each instance gives the weighted sum over time without a masked copy of x.
    joints = torch.matmul(x, visible[:, None, :, None]).squeeze(-1).to(kind)  # (P, C, V)

    def unpacked(values: Tensor) -> Tensor:
        # Padding goes to an additional clip.
        dense = values.new_zeros(clips + 1, slots, *values.shape[1:])
        return dense.index_put_((clip, slot), values)[:clips]

    frames, joints, visible = unpacked(frames), unpacked(joints), unpacked(visible.to(kind))
    weight = visible.sum(2)
    totals = frames.sum(1), joints.sum(1), frames.sum(3).transpose(1, 2)
    joint_weight = weight.sum(1)[:, None].expand(-1, x.size(2))
    return _stacked(list(totals), [visible.sum(1), joint_weight, weight], length)


def _fake(x, mask, clip, slot, clips, slots, length):
    tokens = x.new_empty(3, clips, x.size(1), length, dtype=wide(x.dtype)).transpose(2, 3)
    return tokens, tokens.new_empty(3, clips, length)


def _axis_tokens_backward(
    grad: Tensor,
    weight: Tensor,
    mask: Tensor,
    clip: Tensor,
    slot: Tensor,
    joints: int,
    like: Tensor,
) -> Tensor:
    frames, clips = mask.size(1), grad.size(1)
    grad = (grad / weight.clamp(min=1)[..., None]).transpose(2, 3)  # (3, N, C, L)
    clip = clip.clamp(max=clips - 1)  # padding has no frame
    frame = grad[0, clip, :, :frames] + grad[2, clip, :, slot][..., None]
    # Contiguous, so that the result is; otherwise it would be copied at the full size.
    frame = (frame / joints).to(like.dtype).contiguous() * mask[:, None]
    joint = grad[1, clip, :, :joints].to(like.dtype).contiguous()
    return torch.addcmul(frame[:, :, None], joint[..., None], mask.to(like.dtype)[:, None, None])


def _fake_backward(grad, weight, mask, clip, slot, joints, like):
    return like.new_empty(clip.size(0), grad.size(3), joints, mask.size(1))


def _setup_context(ctx, inputs, output) -> None:
    x, mask, clip, slot, *_ = inputs
    ctx.joints = x.size(2)
    ctx.save_for_backward(output[1], mask, clip, slot, x.new_empty(0))
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx, grad: Tensor, _):
    if grad is None:
        return (None,) * 7
    weight, mask, clip, slot, like = ctx.saved_tensors
    return BACKWARD(grad, weight, mask, clip, slot, ctx.joints, like), *(None,) * 6


BACKWARD = define(_axis_tokens_backward, _fake_backward)
OPERATOR = define(_axis_tokens, _fake, _setup_context, _backward)
