"""What ``tools/train.py`` and ``tools/test.py`` have in common."""

import argparse
import os
import os.path as osp
from typing import Any

from mmaction.registry import RUNNERS
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from ..errors import ConfigError


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that both tools take, under MMAction2's names."""
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and results')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='overrides of the config; dots go into nested dicts, lists are written "[a,b]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def read_config(args: argparse.Namespace) -> Config:
    """Reads the config and applies launcher, overrides and work dir.

    The work dir is the command line's, else the config's, else
    ``work_dirs/<name of the config file>``. An override of ``data_root`` moves every path of the
    config that lies below its ``data_root``.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        # A config file can only be read as a whole: what follows from data_root is in it already.
        old, new = cfg.get('data_root'), args.cfg_options.get('data_root')
        if old is not None and new is not None:
            _move_paths(cfg._cfg_dict, str(old).rstrip('/'), str(new).rstrip('/'))
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    return cfg


def _move_paths(value: Any, old: str, new: str) -> Any:
    """Containers in place, strings as a new one."""
    if isinstance(value, str):
        return new + value[len(old) :] if value.startswith(f'{old}/') else value
    if isinstance(value, dict):
        for key, item in value.items():
            value[key] = _move_paths(item, old, new)
    elif isinstance(value, (list, tuple)):
        return type(value)(_move_paths(item, old, new) for item in value)
    return value


def use_mixed_precision(cfg: Config) -> None:
    """Switches the optimizer wrapper to mixed precision on whatever device there is.

    GPU: MMEngine's ``AmpOptimWrapper``, in float16 with a dynamic loss scale unless the config has
    ``optim_wrapper.dtype='bfloat16'``; CPU: :class:`BFloat16OptimWrapper`.

    Raises:
        ConfigError: If the config has an optimizer wrapper of another kind.
    """
    wrapper = cfg.optim_wrapper
    known = ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper')
    if wrapper.get('type', 'OptimWrapper') not in known:
        raise ConfigError(
            'optim_wrapper.type',
            repr(wrapper.type),
            f'one of {", ".join(known)}',
            'drop --amp or use one of these',
        )
    if get_device() == 'cpu':
        wrapper.type = 'BFloat16OptimWrapper'
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(key, None)
        print_log('No GPU: mixed precision is bfloat16 on the CPU', logger='current')
    else:
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')


def add_hook(cfg: Config, hook: dict) -> None:
    """Appends a hook to ``custom_hooks`` unless the config has one of that type."""
    hooks = list(cfg.get('custom_hooks') or [])
    if all(existing['type'] != hook['type'] for existing in hooks):
        cfg.custom_hooks = [*hooks, ConfigDict(hook)]


def build_runner(cfg: Config) -> Runner:
    """Builds the runner of the config in MMAction2's scope."""
    init_default_scope(cfg.get('default_scope') or 'mmaction')
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
