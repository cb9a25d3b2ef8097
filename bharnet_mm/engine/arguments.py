"""The command lines of training and testing, and early checks of their arguments."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..datasets.store import ClipStore
from ..errors import ConfigError
from ..io.outputs import output_folder


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that both tools take, under MMAction2's names."""
    parser.add_argument(
        '--work-dir', type=output_folder, help='folder for logs, checkpoints and results'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='overrides of the config; dots go into nested dicts, lists are written "[a,b]"; what '
        'the config derives from a value follows',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def parse_options(words: Sequence[str] | None) -> dict[str, Any] | None:
    """Options from ``KEY=VALUE`` words, with values as MMEngine reads them; None if there are no
    words.

    Raises:
        ConfigError: A word without ``=``, or a value whose brackets do not match.
    """
    if not words:
        return None
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(prog='--cfg-options')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    try:
        return parser.parse_known_args(['--cfg-options', *words])[0].cfg_options
    except (ValueError, AssertionError, RecursionError):
        wrong = [word for word in words if '=' not in word]
        raise ConfigError(
            '--cfg-options',
            f'{wrong or list(words)}',
            'words KEY=VALUE, lists as "[a,b]"',
            'correct them',
        ) from None


def check_data(cfg: Mapping[str, Any], loaders: Sequence[str]) -> None:
    """Raises an error for a missing store, an unknown split or training clips of a single class,
    before a model is imported and built.

    Args:
        cfg: The config.
        loaders: Loaders whose data sets are checked: ``'train'``, ``'val'``, ``'test'``.

    Raises:
        BHaRNetError: See :class:`ClipStore` and its ``select``; there is one class to learn only.
    """
    for name in loaders:
        for dataset in _data_sets(cfg.get(f'{name}_dataloader')):
            if isinstance(dataset.get('store'), (str, os.PathLike)):
                store = ClipStore(dataset['store'])
                chosen = store.select(dataset.get('split'))
                if name == 'train':
                    _check_classes(store, chosen)


def check_checkpoint(path: str) -> None:
    """Raises an error for a checkpoint that is not there, before a model is imported and built.

    Raises:
        ConfigError: There is no such file, and it is no address.
    """
    if '://' not in path and not os.path.isfile(path):
        raise ConfigError(path, 'no such file', 'a checkpoint', 'correct the path')


def check_epochs(cfg: Mapping[str, Any]) -> None:
    """Raises an error for a training of no epoch.

    Raises:
        ConfigError: ``train_cfg.max_epochs`` is below 1.
    """
    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    if isinstance(epochs, (int, float)) and epochs < 1:
        raise ConfigError('max_epochs', f'{epochs}', '1 or more', 'correct it')


def _check_classes(store: ClipStore, chosen: np.ndarray) -> None:
    names = [store.classes[label] for label in sorted(set(store.labels[chosen].tolist()))]
    if len(names) < 2:
        raise ConfigError(
            f'{store.path}',
            f'training clips of {f"the class {names[0]!r} only" if names else "no class"}',
            'two classes or more',
            'add clips of another class; for videos, each class has its folder',
        )


def _data_sets(value: Any) -> Iterator[Mapping]:
    """Configs of our data sets, inside wrappers too."""
    if isinstance(value, Mapping):
        if value.get('type') == 'BodyHandDataset':
            yield value
        else:
            for item in value.values():
                yield from _data_sets(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _data_sets(item)
