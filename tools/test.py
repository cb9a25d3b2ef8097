"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``; the arguments are MMAction2's."""

import argparse

import bharnet_mm  # noqa: F401  mends the platform before the config is read
from bharnet_mm.engine.command_line import add_common_arguments, add_hook, build_runner, read_config
from bharnet_mm.errors import ConfigError


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description='Test a checkpoint')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--dump', metavar='FILE', help='write all predictions to this .pkl file')
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Tests as the command line says."""
    args = parse_args()
    cfg = read_config(args)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.dump is not None:
        if not args.dump.endswith(('.pkl', '.pickle')):
            raise ConfigError('--dump', repr(args.dump), 'a file name ending in .pkl', 'rename it')
        evaluators = cfg.test_evaluator
        evaluators = list(evaluators) if isinstance(evaluators, (list, tuple)) else [evaluators]
        cfg.test_evaluator = [*evaluators, dict(type='DumpResults', out_file_path=args.dump)]
    add_hook(cfg, dict(type='CheckpointGuardHook', min_matched=0.5))
    build_runner(cfg).test()


if __name__ == '__main__':
    main()
