"""Trains a model: ``bharnet train CONFIG`` or ``python tools/train.py CONFIG``.

The arguments are MMAction2's.
"""

import argparse
import copy
from pathlib import Path

from ..engine.arguments import add_common_arguments, check_checkpoint, check_data, check_numbers
from ..io.arguments import integer, seed_number
from .model_zoo import find_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``bharnet train``."""
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from this checkpoint; without a value from the last one in the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--no-validate', action='store_true', help='no evaluation during training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by batch size over auto_scale_lr.base_batch_size',
    )
    parser.add_argument('--seed', type=seed_number, help="random seed; default: the config's")
    parser.add_argument(
        '--diff-rank-seed', action='store_true', help='another seed for each process'
    )
    parser.add_argument('--deterministic', action='store_true', help='deterministic algorithms')
    parser.add_argument(
        '--fit-fusion',
        nargs='?',
        type=integer(2),
        const=2,
        metavar='FOLDS',
        help='after the training find the fusion weights of the experts, by that many further '
        'trainings (2) inside the training clips, and store them in the checkpoints',
    )
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Trains, given the arguments of the command line."""
    args.config = find_config(args.config)
    if args.resume not in (None, 'auto'):
        check_checkpoint(args.resume)
    from mmengine.dist import is_main_process

    from ..engine.command_line import (
        add_hook,
        build_runner,
        read_config,
        say_effective_batch,
        training_lock,
        use_mixed_precision,
    )
    from .fit_fusion import check_config, fit_fusion, forget

    cfg = read_config(args)
    check_numbers(cfg)
    check_data(cfg, ('train',) if args.no_validate else ('train', 'val'))
    if args.fit_fusion is not None:
        check_config(cfg, args.fit_fusion)
        whole = copy.deepcopy(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.resume is not None:
        cfg.resume = True
        from ..engine.resume import newest_checkpoint

        auto = args.resume == 'auto'
        cfg.load_from = newest_checkpoint(cfg.work_dir) if auto else args.resume
        cfg.load_from = cfg.load_from and str(cfg.load_from)
    if args.amp or cfg.optim_wrapper.get('type') == 'AmpOptimWrapper':
        use_mixed_precision(cfg)
    if args.auto_scale_lr:
        cfg.setdefault('auto_scale_lr', {}).enable = True
    randomness = cfg.setdefault('randomness', {})
    if args.seed is not None:
        randomness['seed'] = args.seed
    for name in ('diff_rank_seed', 'deterministic'):
        if getattr(args, name):
            randomness[name] = True
    add_hook(cfg, dict(type='CheckpointGuardHook', min_matched=1.0 if cfg.get('resume') else 0.1))
    add_hook(cfg, dict(type='ConsistencyHook'))
    with training_lock(cfg):
        runner = build_runner(cfg)
        say_effective_batch(runner)
        if args.fit_fusion is not None and not cfg.get('resume') and is_main_process():
            forget(Path(cfg.work_dir))
        runner.train()
        if args.fit_fusion is not None and is_main_process():
            fit_fusion(whole, args.fit_fusion, args.seed, args.amp)
