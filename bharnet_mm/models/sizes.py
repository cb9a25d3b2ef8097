"""Sizes of the head and its attention that follow from the networks below them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from ..errors import ConfigError


def fill_head(
    cls_head: Mapping[str, Any],
    backbone: nn.Module,
    more_widths: Mapping[str, int],
    num_frames: int | None = None,
) -> dict[str, Any]:
    """The config of a head, with the sizes that its networks determine filled in.

    Args:
        cls_head: Config of a :class:`BHaRNetHead`. Given sizes have to fit the networks.
        backbone: A :class:`BodyHandBackbone`.
        more_widths: Modality → channels of streams beside the backbone, such as that of rgb.
        num_frames: Frames of a clip; None leaves the attention's default.

    Raises:
        ConfigError: For ``in_channels``, ``modalities`` or joints that do not fit.
    """
    head = copy.deepcopy(dict(cls_head))
    experts = backbone.experts
    widths = {name: getattr(network, 'num_features', None) for name, network in experts.items()}
    widths |= more_widths
    names = head.setdefault('modalities', tuple(widths))
    missing = [name for name in names if name not in widths]
    if missing:
        raise ConfigError(
            'cls_head.modalities',
            f'{tuple(names)}',
            f'some of {tuple(widths)}, the experts that the model has',
            f'give the backbone a network for {missing[0]!r}, or leave it out of modalities',
        )
    head['in_channels'] = {
        name: _fitting(f'cls_head.in_channels, {name}', _width(head, name), widths[name])
        for name in names
    }
    attention = head.get('attention')
    if attention is not None and {'body', 'hand'} <= set(experts):
        for name in ('body', 'hand'):
            layout = getattr(experts[name], 'layout', None)
            key, joints = f'{name}_joints', getattr(layout, 'num_joints', None)
            if joints is not None:
                given = attention.get(key)
                attention[key] = _fitting(f'cls_head.attention.{key}', given, joints)
        stride = getattr(experts['body'], 'temporal_stride', None)
        if num_frames is not None and stride is not None:
            attention.setdefault('num_frames', -(-num_frames // stride))
    return head


def _width(head: Mapping[str, Any], name: str) -> int | None:
    given = head.get('in_channels')
    return given.get(name) if isinstance(given, Mapping) else given


def _fitting(where: str, given: int | None, known: int | None) -> int | None:
    """The size that is known, or else the one that is given; both have to agree."""
    if given is not None and known is not None and given != known:
        raise ConfigError(
            where,
            f'{given}',
            f'{known}, which is what the network gives',
            'leave it out: it is filled in',
        )
    return given if known is None else known
