"""Fills in values of a config from its clip store."""

from __future__ import annotations

import os
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError

PREFIX = 'store:'
#: Facts that may follow the prefix, besides ``split:NAME``: properties of :class:`StoreFacts`.
FACTS = (
    'num_classes',
    'layout',
    'body_channels',
    'hand_channels',
    'num_body_channels',
    'num_hand_channels',
    'num_frames',
    'num_persons',
    'region_parts',
    'region_backbone',
    'region_cell',
    'region_jitter',
)


def fill_from_store(cfg: Config) -> Config:
    """Replaces each value ``'store:FACT'`` of a config by that fact of its clip store.

    So one config works for every data set of a user: ``num_classes='store:num_classes'``. The store
    is ``cfg.store``. ``'store:split:NAME'`` is a split, see :meth:`StoreFacts.split`. A config
    without such values is not changed, and its store is not opened.

    Args:
        cfg: The config; it is changed.

    Returns:
        The same config.

    Raises:
        StoreError: There is no store.
        ConfigError: The fact is unknown, or the store lacks what the config needs.
    """
    content = cfg._cfg_dict.to_dict()
    if not _mentions(content):
        return cfg
    from ..datasets.store.facts import StoreFacts

    facts = StoreFacts(cfg.store, (content.get('regions') or {}).get('store'))
    if ((content.get('model') or {}).get('backbone') or {}).get('hand'):
        facts.require_hands()
    for name, value in content.items():
        if _mentions(value):
            cfg[name] = _filled(value, facts)
    return cfg


def fill_value(value: Any, store: str | os.PathLike) -> Any:
    """A copy of plain dicts and lists with each ``'store:FACT'`` replaced by that fact of a store.

    Raises:
        StoreError, ConfigError: See :func:`fill_from_store`.
    """
    from ..datasets.store.facts import StoreFacts

    return _filled(value, StoreFacts(store))


def open_facts(value: Any) -> list[str]:
    """The facts of a store that a value still lacks, each once, such as ``'num_classes'``."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return sorted({fact for item in value for fact in open_facts(item)})
    return [value.removeprefix(PREFIX)] if _mentions(value) else []


def _mentions(value: Any) -> bool:
    """Whether a value contains a fact to be filled in."""
    if isinstance(value, dict):
        return any(_mentions(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_mentions(item) for item in value)
    return isinstance(value, str) and value.startswith(PREFIX)


def _filled(value: Any, facts: Any) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, facts) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(item, facts) for item in value)
    if not (isinstance(value, str) and value.startswith(PREFIX)):
        return value
    name = value.removeprefix(PREFIX)
    if name.startswith('split:'):
        return facts.split(name.removeprefix('split:'))
    if name not in FACTS:
        known = [PREFIX + fact for fact in (*FACTS, 'split:NAME')]
        raise ConfigError('config', repr(value), f'one of {known}', 'correct the name')
    return getattr(facts, name)
