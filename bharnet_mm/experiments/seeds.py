"""Top-1 of every expert over the score files of several seeds: mean and spread.

python tools/analysis/seeds.py seed0.npz seed1.npz seed2.npz --missing 21 --json result.json

``pred`` is the model's prediction, ``fused`` the plain sum of its experts. ``--missing`` counts so
many test clips that could not be read, such as clips without a detected person, as wrong in a
second column.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..evaluation import load_scores
from ..evaluation.fusion import align
from ..io.arguments import integer
from ..io.atomic import write_json
from ..io.names import table_row
from ..io.outputs import output_file
from .cross_validation import summarise


def to_markdown(result: dict) -> str:
    """One row for each expert."""
    lines = ['| expert | by seed | mean | std over seeds | missing clips wrong |', '|---' * 5 + '|']
    for name, row in result['experts'].items():
        spread = '-' if row['std'] is None else f'{row["std"]:.3f}'
        by_seed = ' '.join(f'{value:.3f}' for value in row['by_seed'])
        cells = [name, by_seed, f'{row["mean"]:.3f}', spread, f'{row["mean_of_all"]:.3f}']
        lines.append(table_row(cells))
    return '\n'.join(lines) + '\n'


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('scores', nargs='+', type=Path, help='one .npz of test.py --dump a seed')
    parser.add_argument(
        '--missing', type=integer(0), default=0, help='test clips that have no score'
    )
    parser.add_argument('--json', type=output_file, help='write the result there')
    args = parser.parse_args(argv)
    aligned = align({str(path): load_scores(path) for path in args.scores})
    clips = len(next(iter(aligned.values())))
    summary = summarise({('test', i): path for i, path in enumerate(args.scores)})
    result = {'clips': clips, 'missing': args.missing, 'experts': {}}
    for name, row in summary['experts'].items():
        of_all = round(row['mean'] * clips / (clips + args.missing), 4)
        kept = {key: row[key] for key in ('by_seed', 'mean', 'std')}
        result['experts'][name] = kept | {'mean_of_all': of_all}
    if args.json:
        write_json(args.json, result)
    print(to_markdown(result))
