"""Attention maps: which frames, joints and instances of the other expert are attended to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..models.attention import CrossAttention, PoolingAttention
from ..ops import plain_form


@dataclass
class AttentionMap:
    """The mean attention of one direction and axis, over the clips with the other expert present.

    Attributes:
        focus: (L',) mean over clips, heads and queries of a token's attention times the number of
            visible tokens; 1 is the average. NaN for a token that is never visible.
        change: Mean norm of the vector that the attention adds, relative to the norm of the token.
        clips: Number of clips.
    """

    focus: np.ndarray
    change: float
    clips: int


class AttentionRecorder:
    """Collects attention maps while a model predicts.

    Args:
        model: A model. Without a :class:`PoolingAttention` in it nothing is collected.

    Example:
        ``with recorder.listening(): model(...)``, then ``recorder.maps()``.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules: dict[CrossAttention, tuple[str, str]] = {}
        for module in model.modules():
            if isinstance(module, PoolingAttention):
                for looking in ('body', 'hand'):
                    for axis, attention in getattr(module, looking).items():
                        self.modules[attention] = (looking, axis)
        self._sums: dict[tuple[str, str], dict] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within this context the model's attentions are recorded."""
        handles = [
            module.register_forward_hook(self._record, with_kwargs=False) for module in self.modules
        ]
        try:
            with plain_form():  # layer by layer, so that the hooks are called
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _record(self, module: CrossAttention, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x, _, other_weight = inputs
        visible = other_weight > 0
        some = visible.any(-1)
        visible = visible[some].double()
        weights = module.weights(*inputs).mean((1, 2))  # over heads and queries: (N, L')
        # The attention times the number of tokens that share it.
        relative = weights[some].double() * visible.sum(-1, keepdim=True)
        lengths = x[some].double().norm(dim=-1)
        added = (output - x)[some].double().norm(dim=-1)
        there = lengths > 0  # tokens of absent instances and frames are zero
        new = dict(
            focus=(relative * visible).sum(0),
            count=visible.sum(0),
            added=(added[there] / lengths[there]).sum(),
            tokens=there.sum(),
            clips=some.sum(),
        )
        old = self._sums.get(self.modules[module])
        self._sums[self.modules[module]] = (
            {name: old[name] + value for name, value in new.items()} if old else new
        )

    def maps(self) -> dict[tuple[str, str], AttentionMap]:
        """(expert, axis) → map of the other expert; empty if nothing was recorded."""
        return {
            key: AttentionMap(
                focus=torch.where(s['count'] > 0, s['focus'] / s['count'], torch.nan).numpy(),
                change=float(s['added'] / s['tokens'].clamp(min=1)),
                clips=int(s['clips']),
            )
            for key, s in self._sums.items()
        }
