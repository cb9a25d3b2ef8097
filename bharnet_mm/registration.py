"""Registers the parts of this package with MMAction2."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator

from .lazy import after_import

#: MMAction2's registry → the package whose modules register our parts in it.
LOCATIONS = {
    'DATASETS': 'bharnet_mm.datasets',
    'TRANSFORMS': 'bharnet_mm.datasets',
    'MODELS': 'bharnet_mm.models',
    'METRICS': 'bharnet_mm.evaluation',
    'HOOKS': 'bharnet_mm.engine',
    'LOOPS': 'bharnet_mm.engine',
    'OPTIM_WRAPPERS': 'bharnet_mm.engine',
    'PARAM_SCHEDULERS': 'bharnet_mm.engine',
}


def register() -> None:
    """Registers every part of the package with MMAction2, once its registries are imported.

    A registry imports its locations when a name is first looked up in it, so neither torch nor
    MMAction2 is imported here. If a registry has been used already, the parts are registered at
    once.
    """
    after_import('mmaction.registry', _add_locations)


@contextlib.contextmanager
def mmaction_scope() -> Iterator[None]:
    """In it, names are looked up in MMAction2's registries, as in its runners.

    A runner of MMEngine without a default scope leaves the scope ``mmengine``, in which no name of
    MMAction2 is found, for the rest of the process. The scope of a project of the user stays.
    """
    from mmengine.registry import DefaultScope

    scope = DefaultScope.get_current_instance()
    if scope is not None and scope.scope_name not in ('mmengine', 'mmaction'):
        yield
        return
    with DefaultScope.overwrite_default_scope('mmaction'):
        yield


def _add_locations() -> None:
    registries = sys.modules['mmaction.registry']
    for name, package in LOCATIONS.items():
        registry = getattr(registries, name)
        for module in _modules(package):
            if registry._imported:
                importlib.import_module(module)
            elif module not in registry._locations:
                registry._locations.append(module)


def _modules(package: str) -> list[str]:
    """The modules to import: those behind the lazy names of a package, or the package itself."""
    if package == 'bharnet_mm.models':
        return [package]  # imports all of its modules by itself
    places = importlib.import_module(package).PLACES
    return sorted({package + place for place in places.values()})
