"""Checks of the names in a config and in overrides of it, with the nearest known name as a hint."""

from __future__ import annotations

import difflib
import inspect
import numbers
from collections.abc import Collection, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from ..errors import ConfigError

#: Keys of the dicts without a ``type`` that MMEngine and :func:`.build_runner` read, and that
#: nothing else checks.
_KNOWN = {
    'env_cfg': {
        'cudnn_benchmark',
        'mp_cfg',
        'dist_cfg',
        'resource_limit',
        'dtype',
        'float32_matmul_precision',
    },
    'env_cfg.mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'randomness': {'seed', 'diff_rank_seed', 'deterministic'},
    'custom_imports': {'imports', 'allow_failed_imports'},
}
_LOADER = {
    'batch_size', 'num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'drop_last',
    'sampler', 'batch_sampler', 'dataset', 'collate_fn', 'timeout', 'worker_init_fn',
    'num_batch_per_epoch', 'multiprocessing_context', 'generator', 'pin_memory_device', 'shuffle',
    'in_order',
}  # fmt: skip
_KNOWN |= {f'{part}_dataloader': _LOADER for part in ('train', 'val', 'test')}
#: Least similarity of two names for one to count as a misspelling of the other.
_ALIKE = 0.8


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name most like this one; None if none is like it."""
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=_ALIKE)
    return found[0] if found else None


def check_names(where: str, cfg: Config, read: Collection[str]) -> None:
    """Refuses a top-level name that looks like a misspelling of one that the runner reads.

    Args:
        where: The config's path, for the message.
        cfg: The config.
        read: The names that the runner reads.
    """
    for name in cfg:
        if name in read or name.startswith('_'):
            continue
        meant = nearest(name, read)
        if meant is not None and meant not in cfg:
            raise _unknown(where, name, meant, read)
    for parent in _KNOWN:
        _check_keys(where, cfg, parent)


def value_at(cfg: Config | Mapping, name: str) -> Any:
    """The value of a dotted name; None if there is none."""
    value: Any = cfg
    for key in name.split('.'):
        if isinstance(value, (list, tuple)):
            value = value[int(key)] if key.isdigit() and int(key) < len(value) else None
        elif isinstance(value, (Mapping, Config)):
            value = value.get(key)
        else:
            return None
    return value


def _check_keys(where: str, cfg: Config, parent: str) -> None:
    value = value_at(cfg, parent)
    if not isinstance(value, Mapping):
        return
    for key in value:
        if key not in _KNOWN[parent] and key not in ('type', '_scope_', '_delete_'):
            raise _unknown(where, f'{parent}.{key}', nearest(key, _KNOWN[parent]), _KNOWN[parent])


def check_key(where: str, cfg: Config, name: str, read: Collection[str]) -> None:
    """Refuses an override of a name that neither the config nor the runner knows.

    Args:
        where: The config's path, for the message.
        cfg: The config without the override.
        name: Dotted name.
        read: The top-level names that the runner reads.
    """
    root, *rest = name.split('.')
    if root not in cfg and root not in read:
        known = {*cfg.keys(), *read}
        raise _unknown(where, name, nearest(root, known), known, root)
    value, path = cfg.get(root), root
    for key in rest:
        if isinstance(value, (list, tuple)):
            if not (key.isdigit() and int(key) < len(value)):
                raise ConfigError(
                    f'--cfg-options {name}',
                    f'{key!r} in {path} of {where}',
                    f'a place from 0 to {len(value) - 1}',
                    'correct the name',
                )
            value, path = value[int(key)], f'{path}.{key}'
            continue
        if not isinstance(value, Mapping):
            return  # a value that the override turns into a dict
        if key not in value:
            known = accepted(path, value)
            if known is not None and key not in known:
                known = known | set(value)
                raise _unknown(where, name, nearest(key, known), known, key, path)
            return
        value, path = value[key], f'{path}.{key}'


def accepted(path: str, value: Mapping) -> set[str] | None:
    """The keys that a dict of a config may have; None if any may be right.

    Args:
        path: Its dotted name.
        value: The dict. One with a ``type`` may have the arguments of that class.
    """
    kind = value.get('type')
    if kind is None:
        return _KNOWN.get(path)
    cls = kind if inspect.isclass(kind) else _find(str(kind))
    if cls is None:
        return None
    names: set[str] = set()
    for base in inspect.getmro(cls):
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return names - {'self'} | {'type', '_scope_', '_delete_'}
    return None


def _find(kind: str) -> type | None:
    """The class that is registered under a name in any registry of MMAction2 or MMEngine."""
    from mmaction import registry as actions
    from mmengine import registry as engine

    name = kind.split('.')[-1]
    for module in (actions, engine):
        for registry in vars(module).values():
            if not isinstance(registry, Registry):
                continue
            registry.import_from_location()
            if name in registry.module_dict:
                found = registry.module_dict[name]
                return found if inspect.isclass(found) else None
    return None


def check_kind(where: str, cfg: Config, name: str, value: Any) -> None:
    """Refuses an override that replaces a number by a text, list or dict."""
    old = value_at(cfg, name)
    if isinstance(old, numbers.Number) and isinstance(value, (str, dict, list)):
        kind = 'True or False' if isinstance(old, bool) else 'a number'
        raise ConfigError(
            f'--cfg-options {name}', repr(value), f'{kind}, as in {where} ({old!r})', 'correct it'
        )


def _unknown(
    where: str,
    name: str,
    meant: str | None,
    known: Collection[str],
    key: str | None = None,
    path: str | None = None,
) -> ConfigError:
    place = f' in {path}' if path else ''
    hint = f'{meant!r}' if meant else f'one of {sorted(known)}'
    fix = f'write {meant!r} for {key or name!r}' if meant else 'correct the name'
    return ConfigError(f'{where}', f'{name!r}, which nothing reads', f'{hint}{place}', fix)
