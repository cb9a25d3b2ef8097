"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``; the arguments are MMAction2's."""

import argparse
from collections.abc import Sequence

from mmengine.config import Config

from ..engine.command_line import add_common_arguments, add_hook, build_runner, read_config
from ..errors import ConfigError


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description='Test a checkpoint')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--dump',
        metavar='FILE',
        help='write the scores with their clip ids (.npz), or all data samples (.pkl)',
    )
    add_common_arguments(parser)
    return parser.parse_args(argv)


def dump_to(cfg: Config, path: str) -> None:
    """Has the test write its predictions to ``path``: score file or pickle, by the name's end."""
    evaluators = cfg.test_evaluator
    evaluators = list(evaluators) if isinstance(evaluators, (list, tuple)) else [evaluators]
    if path.endswith(('.pkl', '.pickle')):
        cfg.test_evaluator = [*evaluators, dict(type='DumpResults', out_file_path=path)]
        return
    metric = next((e for e in evaluators if e['type'] == 'BodyHandMetric'), None)
    if not path.endswith('.npz') or metric is None:
        raise ConfigError(
            '--dump',
            f'{path!r} with the evaluators {[e["type"] for e in evaluators]}',
            'a .pkl, or with BodyHandMetric a .npz',
            'rename the file',
        )
    metric['scores_file'] = path


def main(argv: Sequence[str] | None = None) -> None:
    """Tests as the command line says."""
    args = parse_args(argv)
    cfg = read_config(args)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.dump is not None:
        dump_to(cfg, args.dump)
    add_hook(cfg, dict(type='CheckpointGuardHook', min_matched=0.5))
    build_runner(cfg).test()
