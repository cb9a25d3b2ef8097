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


#: Whole numbers of a config → the least that is allowed.
_WHOLE = {
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 1,
    'default_hooks.logger.interval': 1,
    **{f'{part}_dataloader.batch_size': 1 for part in ('train', 'val', 'test')},
    **{f'{part}_dataloader.num_workers': 0 for part in ('train', 'val', 'test')},
}
_CHECKPOINTS = 'default_hooks.checkpoint.interval'


def check_numbers(cfg: Mapping[str, Any]) -> None:
    """Raises an error for numbers of a config with which a training would end in its middle, or as
    if it had trained.

    Raises:
        ConfigError: An interval, a batch size or a number of epochs or workers that is too small or
            no whole number, or a learning rate that is not above 0.
    """
    from .config_check import value_at

    for name, least in _WHOLE.items():
        value = value_at(cfg, name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (whole and value >= least):
            raise ConfigError(name, f'{value!r}', f'a whole number of at least {least}', _CORRECT)
    value = value_at(cfg, _CHECKPOINTS)
    if value is not None and not (isinstance(value, int) and (value == -1 or value >= 1)):
        expected = 'a whole number of at least 1, or -1 for no checkpoints'
        raise ConfigError(_CHECKPOINTS, f'{value!r}', expected, _CORRECT)
    rate = value_at(cfg, 'optim_wrapper.optimizer.lr')
    if isinstance(rate, (int, float)) and not 0 < rate < float('inf'):
        raise ConfigError('optim_wrapper.optimizer.lr', f'{rate!r}', 'a number above 0', _CORRECT)


_CORRECT = 'correct it'


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
