"""Cross-validation: trains and tests a config once for each value of a field and each seed.

python tools/analysis/leave_one_out.py configs/bharnet_p_asl10.py --seeds 0 1 --jobs 2

Each fold tests on the clips of one value (by default one subject) and trains on all others.
Finished folds are not run again, and an interrupted one continues from its last checkpoint. Writes
`summary.json` and `summary.md`.
"""

from __future__ import annotations

import argparse
import copy
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config, DictAction

from ..apis.tool_process import run_tool
from ..apis.trained_run import checkpoint_of
from ..datasets import ClipStore
from ..engine.config_file import load_config
from ..engine.from_store import fill_from_store
from ..errors import ConfigError
from ..evaluation import load_scores
from ..features import FEATURES, check_feature
from ..io.arguments import decimal, integer, seed_number
from ..io.atomic import write_json, write_text
from ..io.names import from_bytes, table_row
from ..io.outputs import output_folder
from ..io.process import thread_pool
from ..io.text import read_text
from .shares import share_of


@dataclass(frozen=True)
class Entry:
    """The settings of a cross-validation.

    Args:
        config: Path of the config.
        work_dir: Folder with its folds, ``<value>_seed<seed>``.
        field: Field of which each fold leaves out one value.
        exclude: Clips left out everywhere, as split rules.
        unknown: Classes whose clips are left out of the training only, so that the folds show what
            the model says of actions that it does not know.
        cfg_options: Overrides of the config.
        feature: One of ``bharnet_mm.features.FEATURES``; None keeps the config's.
        amp: Mixed precision.
        threads: Threads of a fold; None leaves it to the environment.
        train_share: Share of the training clips that is used, drawn by the seed. The clips are gone
            through the more often, so the number of steps stays about the same.
        fit_fusion: Whether each fold fits its fusion weights inside its training clips.
    """

    config: str
    work_dir: Path
    field: str = 'subject'
    exclude: tuple[dict, ...] = ()
    unknown: tuple[str, ...] = ()
    cfg_options: dict | None = None
    feature: str | None = None
    amp: bool = False
    threads: int | None = None
    train_share: float = 1.0
    fit_fusion: bool = False

    def folder(self, value: str, seed: int) -> Path:
        """The folder of a fold."""
        return self.work_dir / f'{value}_seed{seed}'

    def read(self) -> Config:
        """The config with the overrides."""
        cfg = fill_from_store(load_config(self.config, self.cfg_options))
        if self.feature is not None:
            set_feature(cfg, self.feature)
        return cfg


def set_feature(cfg: Config, feature: str) -> None:
    """Changes the feature of a model. Our models make it in the backbone, stock models in the
    ``MakeFeature`` of their pipelines.
    """
    check_feature(feature)
    if cfg.model.backbone.type == 'BodyHandBackbone':
        cfg.model.backbone.feature = feature
        return
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        steps = [s for s in cfg[name].dataset.pipeline if s['type'] == 'MakeFeature']
        if len(steps) != 1:
            raise ConfigError(
                f'{cfg.filename}, {name}',
                f'{len(steps)} transforms MakeFeature',
                'one, whose feature is to be changed',
                "put dict(type='MakeFeature', feature='joint') before FormatKeypoint",
            )
        steps[0]['feature'] = feature


def folds_of(entry: Entry) -> list[str]:
    """The values of the field in the store, in order, without those of excluded clips only."""
    store = ClipStore(entry.read().train_dataloader.dataset.store)
    kept = store.select({'exclude': list(entry.exclude)} if entry.exclude else None)
    return sorted({from_bytes(value) for value in store.column(entry.field)[kept]})


def fold_config(entry: Entry, value: str, seed: int = 0) -> Config:
    """The config that tests on ``value`` and trains on the rest, or on a share of it."""
    cfg = entry.read()
    common = {'exclude': list(entry.exclude)} if entry.exclude else {}
    training = list(entry.exclude) + ([{'label': list(entry.unknown)}] if entry.unknown else [])
    train = cfg.train_dataloader.dataset
    train.split = {entry.field: {'not_in': [value]}} | ({'exclude': training} if training else {})
    if entry.train_share < 1:
        train.split = {
            'clip_id': share_of(ClipStore(train.store), train.split, entry.train_share, seed)
        }
        train.repeat = round(train.get('repeat', 1) / entry.train_share)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.split = {entry.field: [value]} | common
    return cfg


def has_experts(cfg: Config) -> bool:
    """Whether the model has experts whose weights can be fitted."""
    head = cfg.model.cls_head
    experts = [name for name in ('body', 'hand') if cfg.model.backbone.get(name) is not None]
    return head.get('type') == 'BHaRNetHead' and len(experts) > 1


def digest(cfg: Config) -> str:
    """A digest of the settings that decide a fold's result (model, clips, pipelines, schedule),
    without paths.
    """
    names = ('model', 'train_dataloader', 'test_dataloader')
    names += ('optim_wrapper', 'param_scheduler', 'train_cfg')
    everything = copy.deepcopy(cfg.to_dict())
    parts = {name: everything[name] for name in names}
    for name in ('train_dataloader', 'test_dataloader'):
        parts[name]['dataset'].pop('store')
    return f'{zlib.crc32(json.dumps(parts, sort_keys=True, default=str).encode()):08x}'


def check_unchanged(folder: Path, cfg: Config) -> None:
    """Raises an error if a fold was trained with another config."""
    file, now = folder / 'config.crc32', digest(cfg)
    if file.exists() and read_text(file).strip() != now:
        raise ConfigError(
            f'{folder}',
            'a fold that was begun with another config',
            'the same model, pipelines and schedule in all folds and seeds',
            'remove the folder to train it again, or restore the config',
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(file, now + '\n')


def run_fold(entry: Entry, value: str, seed: int) -> Path:
    """Trains and tests one fold, unless it is done; returns the score file.

    Beside it lies ``cost.json``: seconds on the clock and of CPU time that the training took,
    null where it was interrupted and resumed.
    """
    return run_config(entry, fold_config(entry, value, seed), entry.folder(value, seed), seed)


def run_config(entry: Entry, cfg: Config, folder: Path, seed: int) -> Path:
    """:func:`run_fold` for any split that the config names."""
    scores = folder / 'scores.npz'
    check_unchanged(folder, cfg)
    if scores.exists():
        return scores
    config = folder / 'fold.py'
    cfg.dump(config)
    resumed = (folder / 'last_checkpoint').exists()
    train = [config, '--work-dir', folder, '--seed', seed, '--resume', '--no-validate']
    log = folder / 'output.log'
    train += ['--fit-fusion'] * (entry.fit_fusion and has_experts(cfg))
    cost = run_tool('train', [*train, *(['--amp'] if entry.amp else [])], log, entry.threads)
    checkpoint = checkpoint_of(folder)
    test = [config, checkpoint, '--work-dir', folder, '--dump', scores]
    write_json(folder / 'cost.json', None if resumed else cost)
    run_tool('test', test, log, entry.threads)
    return scores


def summarise(files: dict[tuple[str, int], Path]) -> dict:
    """Top-1 by expert, fold and seed; the mean over folds for each seed, its mean and range over
    the seeds.
    """
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
    """One row for each expert: mean over the seeds for each fold, mean of all, spread over the
    seeds.
    """
    folds = list(next(iter(summary['experts'].values()))['folds'])
    lines = [
        table_row(['expert', *folds, 'mean', f'std over seeds {summary["seeds"]}']),
        '|---' * (len(folds) + 3) + '|',
    ]
    for name, row in summary['experts'].items():
        cells = [f'{np.mean(row["folds"][fold]):.3f}' for fold in folds]
        spread = '-' if row['std'] is None else f'{row["std"]:.3f}'
        lines.append(table_row([name, *cells, f'{row["mean"]:.3f}', spread]))
    return '\n'.join(lines) + '\n'


def add_training(parser: argparse.ArgumentParser) -> None:
    """The arguments ``--train-share`` and ``--fit-fusion``."""
    parser.add_argument(
        '--fit-fusion',
        action='store_true',
        help='fit the fusion weights inside the training clips of each fold',
    )
    parser.add_argument(
        '--train-share',
        type=decimal(above=0, most=1),
        default=1.0,
        metavar='SHARE',
        help='train on this share of the clips, drawn by the seed, of each class and subject alike',
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument(
        '--work-dir',
        type=output_folder,
        help='default: work_dirs/leave_one_out/<config name>',
    )
    parser.add_argument('--field', default='subject', help='what the folds leave out')
    parser.add_argument('--folds', nargs='+', help='values of the field; default: all in the store')
    parser.add_argument('--seeds', nargs='+', type=seed_number, default=[0])
    parser.add_argument(
        '--exclude',
        nargs='+',
        default=[],
        metavar='RULE',
        help='clips left out everywhere, as JSON rules',
    )
    parser.add_argument(
        '--unknown',
        nargs='+',
        default=[],
        metavar='CLASS',
        help='classes left out of the training, not of the test (docs/models.md)',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='overrides'
    )
    parser.add_argument('--feature', choices=FEATURES, help="default: the config's")
    add_training(parser)
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--jobs', type=integer(1), default=1, help='folds at a time')
    args = parser.parse_args(argv)
    entry = Entry(
        config=args.config,
        work_dir=args.work_dir or Path('work_dirs/leave_one_out') / Path(args.config).stem,
        field=args.field,
        exclude=tuple(json.loads(rule) for rule in args.exclude),
        unknown=tuple(args.unknown),
        cfg_options=args.cfg_options,
        feature=args.feature,
        amp=args.amp,
        train_share=args.train_share,
        fit_fusion=args.fit_fusion,
        # On few cores several jobs of one thread finish sooner than one of several.
        threads=1 if args.jobs > 1 else None,
    )
    keys = [(value, seed) for seed in args.seeds for value in args.folds or folds_of(entry)]
    with thread_pool(args.jobs) as pool:
        files = dict(zip(keys, pool.map(lambda key: run_fold(entry, *key), keys), strict=True))
    summary = {
        'config': args.config,
        'exclude': args.exclude,
        'unknown': args.unknown,
        'feature': args.feature,
        'amp': args.amp,
        'cfg_options': args.cfg_options,
        'train_share': args.train_share,
        'fit_fusion': args.fit_fusion,
    } | summarise(files)
    write_json(entry.work_dir / 'summary.json', summary)
    write_text(entry.work_dir / 'summary.md', to_markdown(summary))
    print(to_markdown(summary))
