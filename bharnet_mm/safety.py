"""Makes MMEngine read and write files through ``bharnet_mm.io``.

``import bharnet_mm`` calls :func:`apply` once; each change is made right after the module that it
changes has been imported.
"""

from __future__ import annotations

import os
from functools import wraps
from typing import Any

from .lazy import after_import


def load_weights_safely() -> None:
    """Send every checkpoint that MMEngine and MMAction2 load through
    :func:`io.weights.load_weights`.

    MMEngine downloads URLs through torch hub. That unpickles a file completely, which can run code,
    and stores it under the last part of the address only. Can be removed when MMEngine loads them
    with ``weights_only=True``; but the error messages and the checksum are still needed.
    """
    from mmengine.logging import print_log
    from mmengine.runner.checkpoint import CheckpointLoader

    from .io.weights import load_weights

    def load_checkpoint(
        cls: type, filename: str, map_location: Any = None, logger: Any = 'current'
    ) -> dict:
        print_log(f'Loads checkpoint from {filename}', logger=logger)
        return load_weights(filename, map_location)

    CheckpointLoader.load_checkpoint = classmethod(load_checkpoint)


def load_pickles_safely() -> None:
    """Make ``mmengine.load``, by which MMAction2's data sets read annotations, build plain content
    from pickles and nothing else.

    MMEngine unpickles completely, which can run code.
    """
    from mmengine.fileio.handlers.pickle_handler import PickleHandler

    from .io.guard import reading
    from .io.safe_pickle import RestrictedUnpickler

    def load_from_fileobj(self: Any, file: Any, **options: Any) -> Any:
        where = str(getattr(file, 'name', 'a pickle that MMEngine loads'))
        with reading(where, 'a pickle of plain content', 'get it from a source you trust'):
            return RestrictedUnpickler(file, where).load()

    PickleHandler.load_from_fileobj = load_from_fileobj


def load_yaml_safely() -> None:
    """Make ``mmengine.load`` build plain values and tuples from YAML, whose tags can run code."""
    import yaml
    from mmengine.fileio.handlers import yaml_handler

    class Loader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):
        """Plain YAML, and the tuples that MMEngine writes."""

    def as_tuple(loader: Any, node: Any) -> tuple:
        return tuple(loader.construct_sequence(node, deep=True))

    Loader.add_constructor('tag:yaml.org,2002:python/tuple', as_tuple)
    yaml_handler.Loader = Loader


def write_whole_files() -> None:
    """Make files that MMEngine writes (checkpoints, dumped results) appear whole or not at all.

    MMEngine writes them in place, so a kill or a full disk would leave a damaged file instead of
    the old one.
    """
    from mmengine.fileio.backends.local_backend import LocalBackend

    from .io.atomic import atomic_write

    def put(self: Any, obj: bytes | memoryview, filepath: str | os.PathLike) -> None:
        os.makedirs(os.path.dirname(os.path.abspath(filepath)), exist_ok=True)
        with atomic_write(filepath, 'wb') as stream:
            stream.write(obj)

    def put_text(self: Any, obj: str, filepath: str | os.PathLike, encoding: str = 'utf-8') -> None:
        put(self, obj.encode(encoding), filepath)

    LocalBackend.put, LocalBackend.put_text = put, put_text


def dump_whole_configs() -> None:
    """Make a config that is dumped as Python appear whole or not at all, as its other forms do."""
    from mmengine.config.config import Config

    from .io.atomic import write_text

    original = Config.dump
    if hasattr(original, 'bharnet_mm'):
        return

    @wraps(original)
    def dump(self: Any, file: str | os.PathLike | None = None) -> str | None:
        if file is None or not str(file).endswith('.py'):
            return original(self, file)
        write_text(file, self.pretty_text)
        return None

    dump.bharnet_mm = True
    Config.dump = dump


def apply() -> None:
    """Make the changes above, each once its module is imported."""
    after_import('mmengine.runner.checkpoint', load_weights_safely)
    after_import('mmengine.fileio.handlers.pickle_handler', load_pickles_safely)
    after_import('mmengine.fileio.handlers.yaml_handler', load_yaml_safely)
    after_import('mmengine.fileio.backends.local_backend', write_whole_files)
    after_import('mmengine.config.config', dump_whole_configs)
