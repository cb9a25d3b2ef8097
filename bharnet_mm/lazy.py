"""Lazy imports: package attributes at their first use, and functions that run after the import of
another module.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


def attributes(
    package: str, places: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package that imports its names at their
    first use.

    Args:
        package: ``__name__`` of the package.
        places: Public name to the module that defines it, relative to the package (``'.store'``). A
            module's own name, ``store='.store'``, gives the module itself.
    """

    def __getattr__(name: str) -> Any:
        if name not in places:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        place = places[name]
        module = importlib.import_module(place, package)
        value = module if place == f'.{name}' else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *places})

    return __getattr__, __dir__, sorted(places)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules as the other finders do, and runs functions after some are loaded."""

    def __init__(self) -> None:
        self.due: dict[str, list[Callable[[], None]]] = {}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in self.due:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                break
        else:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for function in self.due.pop(fullname, ()):
                function()

        spec.loader.exec_module = exec_module  # of this one module: each has its own loader
        return spec


_FINDER = _Finder()


def after_import(module: str, function: Callable[[], None]) -> None:
    """Calls a function after a module has been imported, or at once if it is imported already.

    Args:
        module: Full name of the module.
        function: Called without arguments, in the thread that imports.
    """
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    if module in sys.modules:
        function()
    else:
        _FINDER.due.setdefault(module, []).append(function)
