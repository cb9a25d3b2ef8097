"""Size of a model: parameters and multiply-adds."""

from __future__ import annotations

import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..models import use_plain_form


def count_macs(model: nn.Module, inputs: Tensor | dict[str, Tensor]) -> dict:
    """Multiply-adds of one clip, counted by torch's operator counter.

    Args:
        model: A recognizer in the plain form (:func:`use_plain_form`), whose operators the counter
            knows.
        inputs: One clip as the model takes it, with a leading batch axis of 1.

    Returns:
        ``gmacs``: all of them, in units of 1e9. ``gmacs_parts``: those of body, hand, rgb and
        fusion; empty for a model that takes one tensor.
    """

    def count(module: nn.Module, inputs, **options) -> tuple[float, dict]:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(inputs, **options)
        by_module = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
        return counter.get_total_flops() / 2e9, by_module

    total, by_module = count(model.extract_feat, inputs, stage='head')
    if not isinstance(inputs, dict):
        return dict(gmacs=total, gmacs_parts={})
    parts = {}
    for part in model.backbone.experts:
        others = {
            name: mask & name.startswith(part)
            for name, mask in inputs.items()
            if name in ('body_mask', 'hand_mask')
        }
        parts[part] = count(model.backbone, inputs | others)[0]
    if 'BodyGuidedRGB' in by_module:
        parts['rgb'] = by_module['BodyGuidedRGB'] / 2e9
    parts['fusion'] = total - sum(parts.values())
    return dict(gmacs=total, gmacs_parts=parts)


def cost_of_model(cfg: Config) -> dict[str, float]:
    """Parameters, and multiply-adds in units of 1e9 of one clip in which everybody is visible.

    Args:
        cfg: The config. Its first test clip gives the size of the input.

    Returns:
        ``parameters`` and ``gmacs``.
    """
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).eval()
    parameters = sum(p.numel() for p in model.parameters())
    inputs = DATASETS.build(cfg.test_dataloader.dataset)[0]['inputs']
    if isinstance(inputs, dict):
        inputs = {
            k: torch.ones_like(v)[None] if k.endswith('_mask') else v[None]
            for k, v in inputs.items()
        }
    else:
        inputs = inputs[None]
    gmacs = count_macs(use_plain_form(model), inputs)['gmacs']
    return {'parameters': parameters, 'gmacs': round(gmacs, 4)}
