"""Cross-validation: train and test a config once for each value of a field, and seed.

python tools/analysis/leave_one_out.py configs/bharnet_p_asl10.py --seeds 0 1 --jobs 2

Each fold tests on the clips of one value (by default one subject) and trains on all others. Folds that are done are
not run again, an interrupted one goes on from its last checkpoint. Writes `summary.json` and `summary.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from mmengine.config import Config, DictAction

import bharnet_mm  # noqa: F401  mends the platform before the config is read
from bharnet_mm.datasets import ClipStore
from bharnet_mm.evaluation import load_scores

TOOLS = Path(__file__).resolve().parents[1]


def base_config(args: argparse.Namespace) -> Config:
    """The config with the command line's overrides."""
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    return cfg


def fold_config(args: argparse.Namespace, value: str) -> Config:
    """The config that tests on ``value`` and trains on the rest."""
    cfg = base_config(args)
    common = {'exclude': [json.loads(rule) for rule in args.exclude]} if args.exclude else {}
    cfg.train_dataloader.dataset.split = {args.field: {'not_in': [value]}} | common
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.split = {args.field: [value]} | common
    return cfg


def run_fold(args: argparse.Namespace, value: str, seed: int) -> Path:
    """Trains and tests one fold, unless it is done; returns the score file."""
    folder = args.work_dir / f'{value}_seed{seed}'
    scores = folder / 'scores.npz'
    if scores.exists():
        return scores
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / 'fold.py'
    fold_config(args, value).dump(config)
    # One thread a job: on few cores several jobs of one thread finish sooner than one of several.
    env = os.environ | ({'OMP_NUM_THREADS': '1'} if args.jobs > 1 else {})
    train = [
        'train.py',
        str(config),
        '--work-dir',
        str(folder),
        '--seed',
        str(seed),
        '--resume',
        '--no-validate',
    ]
    start = time.time()
    with open(folder / 'output.log', 'a') as log:
        subprocess.run(
            [sys.executable, TOOLS / train[0], *train[1:]],
            check=True,
            stdout=log,
            stderr=log,
            env=env,
        )
        checkpoint = (folder / 'last_checkpoint').read_text().strip()
        test = [
            'test.py',
            str(config),
            checkpoint,
            '--work-dir',
            str(folder),
            '--dump',
            str(scores),
        ]
        subprocess.run(
            [sys.executable, TOOLS / test[0], *test[1:]],
            check=True,
            stdout=log,
            stderr=log,
            env=env,
        )
    (folder / 'seconds.txt').write_text(f'{time.time() - start:.0f}\n')
    return scores


def summarise(files: dict[tuple[str, int], Path]) -> dict:
    """Top-1 by expert, fold and seed; the mean over folds for each seed, its mean and range over the seeds."""
    values, seeds = (sorted({key[i] for key in files}) for i in (0, 1))
    experts = list(load_scores(next(iter(files.values()))).logits)
    table = {}
    for expert in experts:
        top1 = np.array([[load_scores(files[v, s]).top1(expert) for s in seeds] for v in values])
        by_seed = top1.mean(0)
        table[expert] = {
            'folds': {v: top1[i].round(4).tolist() for i, v in enumerate(values)},
            'by_seed': by_seed.round(4).tolist(),
            'mean': round(float(by_seed.mean()), 4),
            'std': round(float(by_seed.std(ddof=1)), 4) if len(seeds) > 1 else None,
        }
    return {'seeds': seeds, 'experts': table}


def to_markdown(summary: dict) -> str:
    """One row an expert: mean over the seeds for each fold, mean of all, spread over the seeds."""
    folds = list(next(iter(summary['experts'].values()))['folds'])
    lines = [
        f'| expert | {" | ".join(folds)} | mean | std over seeds {summary["seeds"]} |',
        '|---' * (len(folds) + 3) + '|',
    ]
    for name, row in summary['experts'].items():
        cells = [f'{np.mean(row["folds"][fold]):.3f}' for fold in folds]
        spread = '-' if row['std'] is None else f'{row["std"]:.3f}'
        lines.append(f'| {name} | {" | ".join(cells)} | {row["mean"]:.3f} | {spread} |')
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument(
        '--work-dir', type=Path, help='default: work_dirs/leave_one_out/<config name>'
    )
    parser.add_argument('--field', default='subject', help='what the folds leave out')
    parser.add_argument('--folds', nargs='+', help='values of the field; default: all in the store')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0])
    parser.add_argument(
        '--exclude',
        nargs='+',
        default=[],
        metavar='RULE',
        help='clips left out everywhere, as JSON rules',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='overrides'
    )
    parser.add_argument('--jobs', type=int, default=1, help='folds at a time')
    args = parser.parse_args()
    args.work_dir = args.work_dir or Path('work_dirs/leave_one_out') / Path(args.config).stem
    store = ClipStore(base_config(args).train_dataloader.dataset.store)
    folds = args.folds or sorted({v.decode() for v in store.column(args.field)})
    keys = [(value, seed) for seed in args.seeds for value in folds]
    with ThreadPoolExecutor(args.jobs) as pool:
        files = dict(zip(keys, pool.map(lambda key: run_fold(args, *key), keys), strict=True))
    summary = {
        'config': args.config,
        'exclude': args.exclude,
        'cfg_options': args.cfg_options,
    } | summarise(files)
    (args.work_dir / 'summary.json').write_text(json.dumps(summary, indent=1) + '\n')
    (args.work_dir / 'summary.md').write_text(to_markdown(summary))
    print(to_markdown(summary))


if __name__ == '__main__':
    main()
