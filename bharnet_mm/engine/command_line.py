"""Functions that ``tools/train.py`` and ``tools/test.py`` share."""

import argparse
import contextlib
import logging
import os
import os.path as osp

import torch
from mmaction.registry import RUNNERS
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from ..datasets import collate  # noqa: F401  registers stack_clips
from ..errors import ConfigError
from ..io.lock import FolderLock
from ..io.process import die_with
from ..ops.native import cpu_flags
from .arguments import parse_options
from .config_file import load_config
from .console import ConsoleRunner
from .from_store import fill_from_store
from .log_guard import guard_logs


def read_config(args: argparse.Namespace) -> Config:
    """Reads the config and applies launcher, overrides and work dir.

    The work dir is taken from the command line, or else from the config. By default it is
    ``work_dirs/<name of the config file>``. See :func:`load_config` for the overrides and
    :func:`fill_from_store` for values that are read from the clip store.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        die_with(os.getppid())  # torchrun, which leaves its processes behind when it is killed
    cfg = fill_from_store(load_config(args.config, parse_options(args.cfg_options)))
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = str(args.work_dir)
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    return cfg


def use_mixed_precision(cfg: Config) -> None:
    """Switches the optimizer wrapper to the mixed precision that the hardware has.

    This is bfloat16 without a loss scale (:class:`BFloat16OptimWrapper`) on a GPU or a CPU with
    units for it. On an older GPU, or with ``optim_wrapper.dtype='float16'``, it is MMEngine's
    ``AmpOptimWrapper`` in float16 with a dynamic loss scale. On a CPU without such units bfloat16
    would be slower, so training stays in float32 and the log says so;
    ``optim_wrapper.type='BFloat16OptimWrapper'`` in the config forces bfloat16.

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
    on_cpu = get_device() == 'cpu'
    forced = wrapper.get('type') == 'BFloat16OptimWrapper'
    if on_cpu and not forced and not cpu_has_bfloat16():
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(key, None)
        wrapper.type = 'OptimWrapper'
        print_log(
            'This processor has no units for bfloat16, so --amp would be slower: training stays in '
            'float32. '
            "optim_wrapper.type='BFloat16OptimWrapper' in the config forces bfloat16.",
            logger='current',
            level=logging.WARNING,
        )
        return
    float16 = not on_cpu and (
        wrapper.get('dtype') == 'float16' or not torch.cuda.is_bf16_supported()
    )
    if forced or not float16:
        wrapper.type = 'BFloat16OptimWrapper'
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(key, None)
        print_log(f'Mixed precision is bfloat16 on the {get_device()}', logger='current')
    else:
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')


def cpu_has_bfloat16() -> bool:
    """Whether the processor has instructions for products in bfloat16, according to Linux."""
    return bool({'avx512_bf16', 'amx_bf16', 'bf16'} & set(cpu_flags().split()))


def add_hook(cfg: Config, hook: dict) -> None:
    """Appends a hook to ``custom_hooks`` unless the config has one of that type."""
    hooks = list(cfg.get('custom_hooks') or [])
    if all(existing['type'] != hook['type'] for existing in hooks):
        cfg.custom_hooks = [*hooks, ConfigDict(hook)]


def build_runner(cfg: Config) -> Runner:
    """Builds the runner of the config in MMAction2's scope, with the precision of float32 products
    that ``env_cfg.float32_matmul_precision`` names.
    """
    init_default_scope(cfg.get('default_scope') or 'mmaction')
    precision = cfg.get('env_cfg', {}).get('float32_matmul_precision')
    if precision is not None:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision != 'highest'
    add_hook(cfg, dict(type='ConsoleHook'))
    for name in ('train', 'val', 'test'):
        use_fast_transfer(cfg.get(f'{name}_dataloader'))
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else ConsoleRunner.from_cfg(cfg)
    return guard_logs(runner)


def use_fast_transfer(loader: dict | None) -> None:
    """Lets a loader's processes stack the clips (:func:`stack_clips`) and, for a GPU, a thread pin
    their memory, unless its config says otherwise.
    """
    if isinstance(loader, dict) and 'collate_fn' not in loader:
        loader['collate_fn'] = dict(type='stack_clips')
        loader.setdefault('pin_memory', torch.cuda.is_available())


def training_lock(cfg: Config) -> FolderLock | contextlib.nullcontext:
    """The lock of the config's work dir, made if needed, held by the first of the processes.

    Raises:
        ConfigError: Another training uses the folder.
    """
    ranks = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}
    if int(os.environ.get(ranks.get(cfg.launcher, ''), 0)):
        return contextlib.nullcontext()
    os.makedirs(cfg.work_dir, exist_ok=True)
    return FolderLock(osp.join(cfg.work_dir, 'training.lock'), 'training', ConfigError)


def say_effective_batch(runner: Runner) -> None:
    """Warns if the batch over all processes is not the one for which the learning rate is set.

    The latter is ``auto_scale_lr.base_batch_size``. With ``auto_scale_lr.enable`` MMEngine scales
    the rate, and there is no warning.
    """
    cfg, processes = runner.cfg, get_world_size()
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    own = cfg.train_dataloader.get('batch_size')
    if not base or not own or cfg.auto_scale_lr.get('enable'):
        return
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    batch = own * processes * steps
    if batch == base:
        return
    parts = f'{own} clips' + f' x {processes} processes' * (processes > 1)
    parts += f' x {steps} accumulated steps' * (steps > 1)
    share = base / (processes * steps)
    keep = (
        f'--cfg-options train_dataloader.batch_size={int(share)} keeps the batch of the recipe'
        if share == int(share)
        else f'no whole batch size gives {base} on {processes} processes'
    )
    runner.logger.warning(
        f'The effective batch is {batch} ({parts}), and the learning rate is made for {base}. '
        f'--auto-scale-lr scales the rate to the batch; {keep}.'
    )
