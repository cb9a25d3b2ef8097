"""Reads config files with overrides that also change the values derived from them.

A config is Python: ``protocol = 'xsub'`` is followed by ``split=f'{protocol}_train'``. Changing
``protocol`` after the file was read would change nothing else. :func:`load_config` therefore
changes the value where the file, or one of the files that it builds on, assigns it.
"""

from __future__ import annotations

import ast
import copy
import inspect
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config import config as mmengine_config
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..errors import ConfigError
from .config_check import check_key, check_kind, check_names, value_at

#: Top-level values that MMEngine's runner reads. All others of a config are variables, which have
#: an effect only through the values that are derived from them.
RUNNER_VALUES = frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
    'custom_imports',
    'runner_type',
    'model_wrapper_cfg',
}

# Code at the head of a rewritten file. It changes a copy, since the value may be a part of another
# one.
_FUNCTION = """
def __override__(value, changes):
    def put(value, path, new):
        if not path:
            return new
        key = path[0]
        if isinstance(value, (list, tuple)) and key.isdigit() and int(key) < len(value):
            items = list(value)
            items[int(key)] = put(items[int(key)], path[1:], new)
            return type(value)(items)
        if isinstance(value, dict) and (key in value or len(path) == 1):
            changed = type(value)(value)
            changed[key] = put(value.get(key), path[1:], new)
            return changed
        return value
    for path, new in changes:
        value = put(value, path, new)
    return value
"""


def _formatted_once(format_code: Callable) -> Callable:
    """A formatter that keeps its last results."""

    @lru_cache(maxsize=8)
    def formatted(code: str, style: tuple, options: tuple) -> Any:
        return format_code(code, style_config=dict(style), **dict(options))

    def kept(code: str, style_config: dict, **options: Any) -> Any:
        return formatted(code, tuple(style_config.items()), tuple(options.items()))

    kept.kept = formatted
    return kept


# MMEngine formats the text of a config for each checkpoint, which takes a fifth of a second.
if not hasattr(mmengine_config.FormatCode, 'kept'):
    mmengine_config.FormatCode = _formatted_once(mmengine_config.FormatCode)


def load_config(path: str | os.PathLike, overrides: Mapping[str, Any] | None = None) -> Config:
    """Reads a config file and applies overrides.

    - A top-level value (``protocol``) is changed wherever the config or a file of its ``_base_``
      assigns it, so all values derived from it change too. The same holds for a part of a variable
      (``regions.cell``), where a variable is a value that only the config reads.
    - A part of a value that the runner reads (``val_dataloader.batch_size``) is changed in the
      finished config, as MMAction2 does it.

    Args:
        path: The config file.
        overrides: Dotted name to value, as ``--cfg-options`` gives them.

    Raises:
        ConfigError: For a name that nothing reads, the message has the nearest known name; for a
            variable whose change has no effect; for a number that is replaced by another type.
    """
    overrides = dict(overrides or {})
    plain = Config.fromfile(path)
    check_names(str(path), plain, RUNNER_VALUES)
    if not overrides:
        return plain
    for name, value in overrides.items():
        check_key(str(path), plain, name, RUNNER_VALUES)
        check_kind(str(path), plain, name, value)
    cfg = _apply(plain, overrides)
    for name in overrides:
        if name.split('.')[0] not in RUNNER_VALUES:
            _check_effect(plain, overrides, name, cfg)
        elif '.' in name:
            _point_to_variable(plain, overrides, name, cfg)
    return cfg


def _apply(plain: Config, overrides: Mapping[str, Any]) -> Config:
    """The config with the overrides applied where its files assign the values."""
    early: dict[str, list[tuple[list[str], Any]]] = {}
    for name, value in overrides.items():
        root, *rest = name.split('.')
        if not rest or root not in RUNNER_VALUES:
            early.setdefault(root, []).append((rest, value))
    path = Path(plain.filename)
    if not early or path.suffix != '.py' or Config._is_lazy_import(str(path)):
        cfg = copy.deepcopy(plain)
    else:
        with tempfile.TemporaryDirectory() as folder:
            changed = Config.fromfile(_rewrite(path, early, Path(folder)))
        cfg = Config(changed._cfg_dict, cfg_text=plain.text, filename=plain.filename)
    # Deep copies, since the tools change the config, of which the values become parts.
    cfg.merge_from_dict(copy.deepcopy(dict(overrides)))
    return cfg


def _rewrite(path: Path, early: Mapping[str, list], folder: Path) -> Path:
    """Writes a config file, and those of its ``_base_``, with the changes after each assignment."""
    place = folder / str(len(list(folder.iterdir())))
    place.mkdir()
    file = place / path.name
    # As in MMEngine, placeholders are replaced first, since they are no Python.
    Config._substitute_predefined_vars(str(path.resolve()), str(file))
    Config._substitute_env_variables(str(file), str(file))
    tree = ast.parse(file.read_text(encoding='utf-8'))
    body: list[ast.stmt] = ast.parse(_FUNCTION).body
    for statement in tree.body:
        names = _assigned(statement)
        if '_base_' in names:
            bases = [
                _rewritten_base(base, path, early, folder)
                for base in Config._get_base_files(str(file))
            ]
            statement = ast.parse(f'_base_ = {bases!r}').body[0]
        body.append(statement)
        for name in names & early.keys():
            body += ast.parse(f'{name} = __override__({name}, {early[name]!r})').body
    # MMEngine replaces these in the text. The rest is an expression of the bases' values.
    file.write_text(ast.unparse(ast.Module(body, [])), encoding='utf-8')
    return file


def _rewritten_base(base: str, path: Path, early: Mapping[str, list], folder: Path) -> str:
    found, scope = Config._get_cfg_path(base, str(path))
    if scope is not None or Path(found).suffix != '.py':  # another project's, or without variables
        return base if scope is not None else str(Path(found).resolve())
    return str(_rewrite(Path(found), early, folder))


def _assigned(statement: ast.stmt) -> set[str]:
    """Names that a statement of a module gives a value to."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return set()
    return {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def runner_part(cfg: Config) -> dict:
    """The part of a config that the runner reads: all but its variables."""
    return {name: value for name, value in cfg.to_dict().items() if name in RUNNER_VALUES}


def _check_effect(plain: Config, overrides: Mapping[str, Any], name: str, cfg: Config) -> None:
    """Refuses a change of a variable that changes nothing that the runner reads."""
    others = {key: value for key, value in overrides.items() if key != name}
    before = _apply(plain, others) if others else plain
    if value_at(before, name) == overrides[name] or runner_part(before) != runner_part(cfg):
        return
    raise ConfigError(
        f'--cfg-options {name}',
        f'{overrides[name]!r}, which changes nothing in {plain.filename}',
        'a value that something in this config is derived from',
        'override what should change by its full name, such as train_dataloader.dataset.store',
    )


def _point_to_variable(plain: Config, overrides: Mapping[str, Any], name: str, cfg: Config) -> None:
    """Warns if a value was changed that is derived from a variable on which other values depend."""
    old, new = value_at(plain, name), overrides[name]
    if old is None or isinstance(old, (bool, Mapping, list, tuple)) or old == new:
        return
    others = {key: value for key, value in overrides.items() if key != name}
    for variable, value in plain.items():
        if variable in RUNNER_VALUES or variable in overrides or value != old:
            continue
        by_variable = _apply(plain, {**others, variable: new})
        if value_at(by_variable, name) == new and runner_part(by_variable) != runner_part(cfg):
            print_log(
                f'{name}={new} leaves other values at {variable}={old}, from which it is derived; '
                f'--cfg-options {variable}={new} changes them all',
                logger='current',
                level=logging.WARNING,
            )
