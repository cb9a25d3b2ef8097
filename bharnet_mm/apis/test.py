"""Tests a checkpoint: ``bharnet test CONFIG CHECKPOINT`` or ``python tools/test.py CONFIG
CHECKPOINT``.

The arguments are MMAction2's.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.arguments import add_common_arguments, check_checkpoint, check_data
from ..errors import ConfigError
from ..io.outputs import output_file
from .model_zoo import find_config

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``bharnet test``."""
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--dump',
        metavar='FILE',
        type=output_file,
        help='write the scores with their clip ids (.npz), or all data samples (.pkl)',
    )
    add_common_arguments(parser)


def dump_to(cfg: Config, path: str) -> None:
    """Makes the test write its predictions to ``path``, as score file or pickle by its ending."""
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


def what_is_tested(runner: Runner, config: str, checkpoint: str) -> dict[str, Any]:
    """Facts about the scores of a test, for its log and score file.

    Returns:
        ``config`` (name), ``checkpoint`` (name), ``checkpoint_sha256`` (None if it is not a local
        file), ``feature``, ``store``, ``split`` and ``clips``, if they are known.
    """
    from ..engine.consistency import model_facts

    dataset = runner.test_dataloader.dataset
    facts: dict[str, Any] = {'config': Path(config).stem, 'checkpoint': Path(checkpoint).name}
    facts['checkpoint_sha256'] = None
    if Path(checkpoint).is_file():
        digest = hashlib.sha256(Path(checkpoint).read_bytes())
        facts['checkpoint_sha256'] = digest.hexdigest()
    facts['feature'] = model_facts(runner.model, runner.cfg).get('feature')
    inner = dataset
    while not hasattr(inner, 'store') and hasattr(inner, 'dataset'):
        inner = inner.dataset  # a wrapper of MMEngine
    facts['store'] = str(inner.store.path) if hasattr(inner, 'store') else None
    facts['split'] = getattr(inner, 'split', None)
    facts['clips'] = len(dataset)
    return facts


def run(args: argparse.Namespace) -> None:
    """Tests, given the arguments of the command line."""
    args.config = find_config(args.config)
    check_checkpoint(args.checkpoint)
    from ..engine.command_line import add_hook, build_runner, read_config
    from ..evaluation import BodyHandMetric
    from .fit_fusion import FusionFacts

    cfg = read_config(args)
    check_data(cfg, ('test',))
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.dump is not None:
        dump_to(cfg, str(args.dump))
    # All weights must be in the file, since missing ones would be random.
    add_hook(cfg, dict(type='CheckpointGuardHook', min_matched=1.0))
    add_hook(cfg, dict(type='ConsistencyHook'))
    runner = build_runner(cfg)
    facts = what_is_tested(runner, args.config, args.checkpoint)
    for metric in runner.test_evaluator.metrics:
        if isinstance(metric, BodyHandMetric):
            metric.facts = facts
    runner.register_hook(FusionFacts(facts))
    runner.logger.info(
        f'Testing {facts["checkpoint"]} on {facts["clips"]} clips, split {facts["split"]!r} of '
        f'{facts["store"]}'
    )
    runner.test()
