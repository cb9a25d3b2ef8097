"""Accuracy on damaged input: several models side by side, at several levels and seeds.

python tools/analysis/robustness.py --entry P work_dirs/bharnet_p_sample \
    --entry body work_dirs/body_sample --out work_dirs/robustness

An entry is a name and one or more work folders of tools/train.py or leave_one_out.py (its folds,
which are averaged). The test clips are damaged before the pipeline, depending on (seed, clip) only,
so every entry gets the same damage. Writes OUT.json, OUT.md and OUT.png; cells that OUT.json
already has for the same checkpoints are not computed again.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..apis.trained_run import TrainedRun, checkpoint_of
from ..io.arguments import seed_number
from ..io.atomic import write_json, write_text
from ..io.guard import reading
from ..io.names import table_row
from ..io.outputs import output_files
from ..io.text import read_json
from .damage import CONDITIONS, Damage

_RESULTS = 'results of robustness.py'


def cells_of(conditions: list[str], seeds: list[int]) -> list[tuple[str, float, int]]:
    """(condition, level, seed) of everything to run; ``('clean', 0, 0)`` first."""
    cells = [('clean', 0.0, 0)]
    for name in conditions:
        for level in CONDITIONS[name].levels:
            fixed = level in CONDITIONS[name].fixed
            cells += [(name, level, seed) for seed in (seeds[:1] if fixed else seeds)]
    return cells


def collect(results: dict, entry: str, fusion: str, condition: str) -> list[tuple[float, list]]:
    """(level, top-1 by seed) of a line of the figure; the first point is the undamaged one."""
    runs = [run['cells'] for run in results[entry].values()]

    def by_seed(name: str, level: float) -> list[float]:
        keys = [k for k in runs[0] if k.startswith(f'{name} {level:g} ')]
        return [float(np.mean([run[key][fusion] for run in runs])) for key in keys]

    points = [(CONDITIONS[condition].clean, by_seed('clean', 0.0))]
    points += [(level, by_seed(condition, level)) for level in CONDITIONS[condition].levels]
    return [(level, values) for level, values in points if values]


def lines_of(results: dict) -> list[tuple[str, str]]:
    """(entry, fusion) of all lines."""
    first = {entry: next(iter(runs.values()))['cells'] for entry, runs in results.items()}
    return [(entry, fusion) for entry, cells in first.items() for fusion in cells['clean 0 0']]


def to_markdown(results: dict, conditions: list[str]) -> str:
    """One table for each condition: mean over the seeds."""
    parts = []
    for condition in conditions:
        levels = [CONDITIONS[condition].clean, *CONDITIONS[condition].levels]
        heads = ' | '.join(f'{level:g}' for level in levels)
        parts += [f'{condition}: {CONDITIONS[condition].title}', '', f'| | {heads} |']
        parts.append('|---' * (len(levels) + 1) + '|')
        for entry, fusion in lines_of(results):
            points = dict(collect(results, entry, fusion, condition))
            cells = [f'{np.mean(points[v]):.3f}' if v in points else 'not run' for v in levels]
            label = entry if fusion == 'sum' else f'{entry}, {fusion}'
            parts.append(table_row([label, *cells]))
        parts.append('')
    return '\n'.join(parts)


def draw(results: dict, conditions: list[str], path: Path) -> None:
    """One panel for each condition, one line for each entry and fusion; the band is the range over
    the seeds.
    """
    from ..apis.visualizer import new_figure, save_figure

    columns = min(4, len(conditions))
    rows = -(-len(conditions) // columns)
    figure = new_figure(4.2 * columns, 3.4 * rows + 0.7)
    axes = np.atleast_1d(figure.subplots(rows, columns, sharey=True, squeeze=False)).ravel()
    colors = [f'C{i}' for i in range(10)]
    for ax, condition in zip(axes, conditions, strict=False):
        for entry, fusion in lines_of(results):
            points = collect(results, entry, fusion, condition)
            x = [level for level, _ in points]
            y = [np.mean(values) for _, values in points]
            color = colors[list(results).index(entry) % 10]
            style = dict(color=color, ls='-' if fusion == 'sum' else '--', marker='o', ms=3)
            ax.plot(x, y, label=entry if fusion == 'sum' else f'{entry}, Noisy-OR', **style)
            low, high = ([f(values) for _, values in points] for f in (min, max))
            ax.fill_between(x, low, high, color=color, alpha=0.15, lw=0)
        ax.set_title(condition.replace('_', ' '), fontsize=11)
        ax.set_xlabel(CONDITIONS[condition].title, fontsize=8)
        ax.grid(alpha=0.3)
        ax.set_ylim(0, 1.02)
        ax.locator_params(axis='x', nbins=5)
    for ax in axes[len(conditions) :]:
        ax.set_visible(False)
    axes[0].set_ylabel('top-1')
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='upper center', ncols=min(len(labels), 7), fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.45 / (3.4 * rows + 0.7)))
    save_figure(figure, path, dpi=110)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--entry', nargs='+', action='append', required=True, metavar=('NAME', 'RUN')
    )
    parser.add_argument(
        '--conditions',
        nargs='+',
        choices=CONDITIONS,
        default=list(CONDITIONS),
        metavar='NAME',
        help=f'some of {", ".join(CONDITIONS)}; default: all',
    )
    parser.add_argument('--seeds', nargs='+', type=seed_number, default=[0, 1, 2])
    parser.add_argument(
        '--out',
        type=output_files('.json', '.md', '.png'),
        required=True,
        help='OUT.json, OUT.md, OUT.png',
    )
    args = parser.parse_args(argv)
    if any(len(entry) < 2 for entry in args.entry):
        parser.error('--entry takes a name and at least one work folder')
    return args


def read_results(file: Path) -> dict:
    """Results of an earlier run: entry, work folder, ``checkpoint`` and ``cells``, each a key.

    Raises:
        SourceError: Not of this form.
    """
    results = read_json(file, _RESULTS, 'remove the file')
    with reading(file, _RESULTS, 'remove the file'):
        for folders in results.values():
            for run in folders.values():
                for cell in run['cells'].values():
                    dict.fromkeys(cell), sum(map(float, cell.values()))
    return results


def main(argv: Sequence[str] | None = None) -> None:
    """Runs what is missing and writes table and figure."""
    args = parse_args(argv)
    file = args.out.with_suffix('.json')
    results = read_results(file) if file.exists() else {}
    file.parent.mkdir(parents=True, exist_ok=True)
    for name, *folders in args.entry:
        done = results.setdefault(name, {})
        for folder in list(done):
            if folder not in folders:
                del done[folder]  # another set of runs under this name
        for folder in folders:
            digest = f'{zlib.crc32(checkpoint_of(folder).read_bytes()):08x}'
            if done.get(folder, {}).get('checkpoint') != digest:
                done[folder] = {'checkpoint': digest, 'cells': {}}
            cells, run = done[folder]['cells'], None
            for condition, level, seed in cells_of(args.conditions, args.seeds):
                key = f'{condition} {level:g} {seed}'
                if key in cells:
                    continue
                run = run or TrainedRun(folder)
                damage = None
                if condition != 'clean':
                    damage = Damage(CONDITIONS[condition].make(level), seed)
                cells[key] = {k: round(v, 4) for k, v in run.top1(damage).items()}
                write_json(file, results)
    table = to_markdown(results, args.conditions)
    write_text(args.out.with_suffix('.md'), table)
    draw(results, args.conditions, args.out.with_suffix('.png'))
    print(table)
