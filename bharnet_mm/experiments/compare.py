"""Compares configs with the same training in a table: cross-validation over several seeds,
ensembles and cost.

python tools/analysis/compare.py configs/bharnet_p_asl10.py configs/body_asl10.py \
    --ensembles configs/bharnet_p_asl10.py --seeds 0 1 2 --out data/compare --jobs 2

Each config is trained on every fold as in leave_one_out.py: first all with the first seed, then
with the second. The configs of ``--ensembles`` are trained on the three other features as well.
Finished folds are kept, and interrupted ones continue from their last checkpoint. With
``--no-train`` the table shows the existing results and marks missing ones. ``--page`` writes it
into a Markdown file between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..datasets import ClipStore
from ..errors import ConfigError
from ..evaluation import Scores, load_scores
from ..evaluation.fusion import align, fuse
from ..features import FEATURES
from ..io.arguments import integer, seed_number
from ..io.atomic import write_json, write_text
from ..io.guard import reading
from ..io.lock import FolderLock
from ..io.names import shown, table_row
from ..io.outputs import output_file, output_folder
from ..io.process import thread_pool
from ..io.text import read_json, read_text
from .cost import cost_of_model
from .cross_validation import Entry, add_training, folds_of, run_fold

#: Joint, bone, joint motion, bone motion: the weights of CTR-GCN's public ensemble script.
ENSEMBLE_WEIGHTS = (0.6, 0.6, 0.4, 0.4)
_COSTS = 'costs of a training'
MISSING = 'not run yet'
#: What all runs in a folder have in common.
SETTINGS = ('field', 'exclude', 'amp', 'train_share', 'fit_fusion')
_KINDS = dict(zip(SETTINGS, (str, list, bool, float, bool), strict=True))


def entries(args: argparse.Namespace) -> dict[tuple[str, str], Entry]:
    """(config, feature) → what is cross-validated, in the order in which it is trained."""
    ensembles = args.ensembles or []
    pairs = [(config, 'joint') for config in args.configs]
    pairs += [(config, feature) for config in ensembles for feature in FEATURES[1:]]
    return {
        (config, feature): Entry(
            config=config,
            work_dir=args.out / f'{Path(config).stem}-{feature}',
            field=args.field,
            exclude=tuple(args.exclude),
            feature=feature,
            amp=args.amp,
            threads=1,
            train_share=args.train_share,
            fit_fusion=args.fit_fusion,
        )
        for config, feature in pairs
    }


def keep_settings(args: argparse.Namespace) -> dict:
    """The common settings of all runs in the folder, which are stored there.

    Raises:
        ConfigError: The runs in the folder were trained with other settings.
    """
    file = args.out / 'settings.json'
    wanted = {name: getattr(args, name) for name in SETTINGS}
    # Folders of earlier versions do not say all.
    there = dict(train_share=1.0, fit_fusion=False)
    if file.exists():
        there |= read_json(file, 'settings of compare.py', 'remove the folder')
        kinds = {name: type(there.get(name)) for name in SETTINGS}
        if kinds != _KINDS and kinds != _KINDS | {'train_share': int}:
            said = f'{str(there)[:200]}'
            raise ConfigError(f'{file}', said, f'{_KINDS}', 'remove the folder')
    else:
        there = wanted
    if args.no_train:
        for name in SETTINGS:
            setattr(args, name, there[name])
    elif there != wanted:
        raise ConfigError(
            f'{args.out}', f'runs with {there}', f'{wanted}', 'use another folder for --out'
        )
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        write_json(file, wanted)
    return there


def train(jobs: list[tuple[Entry, str, int]], workers: int) -> list[str]:
    """Runs the folds, several at a time. Returns the failed ones after trying all."""
    stopped = threading.Event()

    def work(job: tuple[Entry, str, int]) -> str | None:
        entry, value, seed = job
        try:
            run_fold(entry, value, seed)
        except Exception as error:  # one broken config must not stop the others
            if stopped.is_set():
                return None
            failure = f'{entry.folder(value, seed)}: {error}'
            print(shown(f'failed: {failure}'), flush=True)
            return failure
        print(shown(f'{entry.work_dir.name} {value} seed {seed}: done'), flush=True)
        return None

    with thread_pool(workers) as pool:
        try:
            return [failure for failure in pool.map(work, jobs) if failure]
        except BaseException:
            stopped.set()
            raise


def cpu_minutes(entry: Entry, folds: list[str], seeds: list[int]) -> float | None:
    """Processor minutes of training a fold, mean over those that ran in one piece."""
    files = [entry.folder(value, seed) / 'cost.json' for value in folds for seed in seeds]
    known = []
    for file in files:
        # null where the training was interrupted
        if file.exists() and (cost := read_json(file, _COSTS, kind=object)):
            with reading(file, _COSTS):
                known.append(float(cost['cpu_seconds']))
    return round(float(np.mean(known)) / 60, 2) if known else None


def member_scores(members: list[Entry], value: str, seed: int) -> Scores | None:
    """Log probabilities of an entry, or of an ensemble's fused members; None if one is missing.

    A single entry keeps its experts; the fused prediction is called ``pred`` in both.
    """
    files = [entry.folder(value, seed) / 'scores.npz' for entry in members]
    if not all(file.exists() for file in files):
        return None
    if len(files) == 1:
        return load_scores(files[0])
    aligned = align({str(file): load_scores(file) for file in files})
    first = next(iter(aligned.values()))
    fused = fuse([scores.logits['pred'] for scores in aligned.values()], ENSEMBLE_WEIGHTS)
    return Scores(first.clip_id, first.label, {'pred': fused.astype(np.float32)}, first.classes)


def accuracies(members: list[Entry], folds, seeds, kept: set[str] | None = None) -> dict:
    """Top-1 by fold and seed, its mean and spread over the seeds that are complete.

    Args:
        kept: Clip ids to test on; by default all.
    """
    table: dict[str, dict[str, float]] = {value: {} for value in folds}
    for seed in seeds:
        for value in folds:
            scores = member_scores(members, value, seed)
            if scores is not None:
                right = scores.correct('pred')
                if kept is not None:
                    right = right[[clip_id in kept for clip_id in scores.clip_id.tolist()]]
                table[value][str(seed)] = round(float(right.mean()), 4)
    complete = [s for s in map(str, seeds) if all(s in table[value] for value in folds)]
    means = [np.mean([table[value][s] for value in folds]) for s in complete]
    return {
        'folds': table,
        'seeds': [int(s) for s in complete],
        'mean': round(float(np.mean(means)), 4) if means else None,
        'std': round(float(np.std(means, ddof=1)), 4) if len(means) > 1 else None,
    }


def make_rows(args: argparse.Namespace, found: dict, folds: list[str]) -> list[dict]:
    """One row for each entry, and one for each ensemble."""
    kept = None
    if args.without:
        store = ClipStore(next(iter(found.values())).read().test_dataloader.dataset.store)
        kept = {store.clip_ids[i] for i in store.select({'exclude': args.without})}
    groups = [(config, (feature,)) for config, feature in found]
    groups += [(config, FEATURES) for config in args.ensembles or []]
    order = {config: i for i, config in enumerate(args.configs)}
    costs = {config: cost_of_model(found[config, 'joint'].read()) for config in args.configs}
    rows = []
    for config, features in sorted(groups, key=lambda group: order[group[0]]):
        members = [found[config, feature] for feature in features]
        minutes = [cpu_minutes(entry, folds, args.seeds) for entry in members]
        row = {'config': config, 'features': list(features)}
        row |= accuracies(members, folds, args.seeds)
        if kept is not None:
            row['without'] = accuracies(members, folds, args.seeds, kept)
        row |= {k: round(len(members) * v, 4) for k, v in costs[config].items()}
        row['cpu_minutes'] = None if None in minutes else round(sum(minutes), 2)
        rows.append(row)
    return rows


def to_markdown(rows: list[dict]) -> str:
    """The table. Cells with missing runs are marked."""
    folds = list(rows[0]['folds'])
    without = 'without' in rows[0]
    head = ['config', 'feature', *folds, 'mean', 'std over seeds', 'seeds']
    head += (['mean without'] if without else []) + ['params (M)', 'MMACs', 'CPU min']
    lines = [table_row(head), '|---' * len(head) + '|']

    def number(value: float | None, digits: int = 3, otherwise: str = MISSING) -> str:
        text = otherwise if value is None else f'{value:.{digits}f}'
        return text.removeprefix('0') if digits == 3 else text

    for row in rows:
        feature = 'four features' if len(row['features']) > 1 else row['features'][0]
        cells = [f'`{Path(row["config"]).stem}`', feature.replace('_', ' ')]
        for value in folds:
            results = list(row['folds'][value].values())
            cells.append(number(float(np.mean(results)) if results else None))
        cells += [number(row['mean']), number(row['std'], otherwise='')]
        cells.append(' '.join(map(str, row['seeds'])))
        if without:
            cells.append(number(row['without']['mean']))
        cells += [number(row['parameters'] / 1e6, 2), number(row['gmacs'] * 1e3, 0)]
        cells.append(number(row['cpu_minutes'], 1, ''))
        lines.append(table_row(cells))
    return '\n'.join(lines) + '\n'


def write_between(page: Path, name: str, text: str) -> None:
    """Replaces what a Markdown file has between the markers ``<!-- name -->`` and
    ``<!-- /name -->``.
    """
    start, end = f'<!-- {name} -->', f'<!-- /{name} -->'
    old = read_text(page)
    if old.count(start) != 1 or old.count(end) != 1 or old.index(end) < old.index(start):
        raise ConfigError(
            f'{page}',
            f'{old.count(start)} times {start!r} and {old.count(end)} times {end!r}',
            'each once, in this order',
            'put the markers where the table belongs',
        )
    pattern = re.escape(start) + '.*?' + re.escape(end)
    new = re.sub(pattern, lambda _: f'{start}\n\n{text}\n{end}', old, flags=re.DOTALL)
    write_text(page, new)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', help='in the order of training and of the table')
    parser.add_argument('--ensembles', nargs='+', help='which of them get all four features')
    parser.add_argument(
        '--out', type=output_folder, required=True, help='where runs and scores are kept'
    )
    parser.add_argument('--field', default='subject', help='what the folds leave out')
    parser.add_argument('--folds', nargs='+', help='values of the field; default: all in the store')
    parser.add_argument('--seeds', nargs='+', type=seed_number, default=[0])
    rules = dict(nargs='+', type=json.loads, default=[], metavar='RULE')
    parser.add_argument(
        '--exclude', **rules, help='clips left out of training and test, as JSON rules'
    )
    parser.add_argument(
        '--without', **rules, help='a further column of the mean without these test clips'
    )
    add_training(parser)
    parser.add_argument('--amp', action='store_true', help='train all in mixed precision')
    parser.add_argument(
        '--jobs', type=integer(1), default=1, help='folds at a time, one thread each'
    )
    parser.add_argument('--no-train', action='store_true', help='only make the table')
    parser.add_argument('--json', type=output_file, help='write the rows there')
    parser.add_argument('--page', type=output_file, help='a Markdown file to write the table into')
    parser.add_argument('--name', default='compare', help='of the markers in the page')
    args = parser.parse_args(argv)
    strange = [config for config in args.ensembles or [] if config not in args.configs]
    if strange:
        parser.error(f'--ensembles {strange} are not among the configs')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Trains what is missing and writes the table."""
    args = parse_args(argv)
    settings = keep_settings(args)
    found = entries(args)
    folds = args.folds or folds_of(next(iter(found.values())))
    failures = []
    if not args.no_train:
        with FolderLock(args.out / 'lock', 'run', ConfigError):
            jobs = [(e, value, s) for s in args.seeds for e in found.values() for value in folds]
            failures = train(jobs, args.jobs)
    rows = make_rows(args, found, folds)
    table = to_markdown(rows)
    if args.json:
        result = settings | {
            'without': args.without,
            'ensemble_weights': dict(zip(FEATURES, ENSEMBLE_WEIGHTS, strict=True)),
            'rows': rows,
        }
        write_json(args.json, result)
    if args.page:
        write_between(args.page, args.name, table)
    print(table)
    if failures:
        sys.exit('failed:\n' + '\n'.join(failures))
