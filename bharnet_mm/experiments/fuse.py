"""Fuse score files by clip id, with intervals and paired tests.

python tools/analysis/fuse.py joint.npz bone.npz --weights 0.6 0.4
python tools/analysis/fuse.py joint.npz bone.npz --search val_joint.npz val_bone.npz

Files: ours (``tools/test.py --dump scores.npz``), MMAction2's dumps and pyskl's results (``.pkl``,
read without running code; files without clip ids need ``--annotations`` and ``--split``).
``FILE:EXPERT`` takes another expert than ``pred``, such as ``scores.npz:body``; ``FILE,FILE`` puts
files of different clips together, such as folds. Members of other clips than the first are refused.
Weights are given; or searched on ``--search``, the same members' scores of clips held out of
*training* (test clips among them are refused); or those that the checkpoint has, if the members are
its experts (``tools/train.py --fit-fusion``); else equal.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..evaluation import Scores, save_scores
from ..evaluation.foreign_scores import read_scores
from ..evaluation.fusion import (
    align,
    bootstrap_interval,
    check_twins,
    concatenate,
    fit_weights,
    fuse,
    mcnemar,
)
from ..evaluation.measures import measure
from ..fusion import METHODS
from ..io.arguments import decimal, integer
from ..io.atomic import write_json
from ..io.names import table_row
from ..io.outputs import output_file


def read_members(
    files: list[str], annotations: str | None = None, split: str | None = None
) -> dict[str, Scores]:
    """Name → scores of the same clips in one order; ``pred`` is the expert asked for."""
    members, experts = {}, {}
    for name in files:
        paths, _, expert = name.rpartition(':') if _has_expert(name) else (name, '', 'pred')
        parts = [read_scores(path, annotations, split) for path in paths.split(',')]
        for part in parts:
            part.correct(expert)  # says which experts there are
        scores = concatenate(parts)
        if name in members:
            raise ConfigError('score files', f'{name!r} twice', 'each once', 'remove one')
        logits = {'pred': scores.logits[expert]}
        members[name] = Scores(scores.clip_id, scores.label, logits, scores.classes, scores.facts)
        experts[name] = expert
    aligned = align(members)
    check_twins(aligned, experts)
    return aligned


def _has_expert(name: str) -> bool:
    return ':' in name and '.' not in name.rpartition(':')[2] and not Path(name).exists()


def stored_weights(members: dict[str, Scores]) -> list[float] | None:
    """Weights that the checkpoint has for its experts, where the members are these; else None."""
    facts = [scores.facts for scores in members.values()]
    experts = [name.rpartition(':')[2] if _has_expert(name) else 'pred' for name in members]
    digests = {fact.get('checkpoint_sha256') for fact in facts}
    weights = facts[0].get('fusion_weights') or {}
    if len(digests) > 1 or None in digests or not set(experts) <= set(weights):
        return None
    return [float(weights[expert]) for expert in experts]


def check_apart(held_out: dict[str, Scores], test: dict[str, Scores]) -> None:
    """Refuses to search weights on clips that they are then tested on."""
    both = np.intersect1d(
        next(iter(held_out.values())).clip_id, next(iter(test.values())).clip_id
    ).tolist()
    if both:
        raise ConfigError(
            '--search',
            f'{len(both)} clips that are tested on as well, such as {both[0]!r}',
            'clips held out of training, none of the test',
            'score a part of the training split that the members were not trained on',
        )


def evaluate(logits: np.ndarray, label: np.ndarray, rounds: int) -> dict:
    """Measures of log probabilities and the 95 % interval of top-1."""
    result = measure(np.exp(logits), label)
    low, high = bootstrap_interval(logits.argmax(1) == label, rounds=rounds)
    return result | {'top1_interval': [low, high]}


def compare(right: dict[str, np.ndarray], rounds: int) -> list[dict]:
    """Every two entries, by which clips they get right: name → (N,) bool."""
    pairs = []
    for (a, right_a), (b, right_b) in itertools.combinations(right.items(), 2):
        low, high = bootstrap_interval(right_a.astype(float) - right_b, rounds=rounds)
        row = {'a': a, 'b': b, 'difference': float(right_a.mean() - right_b.mean())}
        pairs.append(row | {'interval': [low, high]} | mcnemar(right_a, right_b))
    return pairs


def to_markdown(result: dict) -> str:
    """The entries, then every two of them against each other."""
    lines = ['| | weight | top-1 | 95 % | top-5 | mean class | ECE |', '|---' * 7 + '|']

    def interval(pair: list[float], sign: str = '') -> str:
        return f'{pair[0]:{sign}.3f} to {pair[1]:{sign}.3f}'

    for name, row in result['entries'].items():
        weight = result['weights'].get(name)
        cells = [name, '' if weight is None else f'{weight:g}', f'{row["top1"]:.4f}']
        cells += [interval(row['top1_interval']), f'{row["top5"]:.4f}', f'{row["mean1"]:.4f}']
        lines.append(table_row([*cells, f'{row["ece"]:.3f}']))
    lines += ['', '| a | b | a - b | 95 % | only a | only b | p (McNemar) |', '|---' * 7 + '|']
    for row in result['pairs']:
        cells = [row['a'], row['b'], f'{row["difference"]:+.4f}', interval(row['interval'], '+')]
        lines.append(table_row([*cells, row['only_a'], row['only_b'], f'{row["p_value"]:.3g}']))
    return '\n'.join(lines) + '\n'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('files', nargs='+', metavar='FILE[,FILE][:EXPERT]')
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        '--weights',
        nargs='+',
        type=decimal(0),
        help="one a file; default: their checkpoint's if it has some, else 1 each",
    )
    weights.add_argument(
        '--search', nargs='+', metavar='FILE', help='search them on these held-out score files'
    )
    parser.add_argument('--method', choices=METHODS, default='sum')
    parser.add_argument('--annotations', help='annotation pickle, for files without clip ids')
    parser.add_argument('--split', help='its split that was tested')
    parser.add_argument('--search-split', help='its split that the --search files are of')
    parser.add_argument('--rounds', type=integer(1), default=10000, help='bootstrap resamples')
    parser.add_argument('--json', type=output_file, help='write the results there')
    parser.add_argument('--dump', type=output_file, help='write the fused scores there (.npz)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Fuses, tests and prints."""
    args = parse_args(argv)
    members = read_members(args.files, args.annotations, args.split)
    weights = args.weights or stored_weights(members) or [1.0] * len(members)
    searched = None
    if args.search:
        held_out = read_members(args.search, args.annotations, args.search_split)
        if len(held_out) != len(members):
            raise ConfigError(
                '--search',
                f'{len(held_out)} files for {len(members)} members',
                'one for each member, in the same order',
                'score the held-out clips with every member',
            )
        check_apart(held_out, members)
        first = next(iter(held_out.values()))
        logits = [scores.logits['pred'] for scores in held_out.values()]
        fitted = fit_weights(logits, first.label, args.method)
        weights = list(fitted.weights)
        searched = {'files': args.search, 'clips': len(first)} | asdict(fitted)
    first = next(iter(members.values()))
    logits = {name: scores.logits['pred'] for name, scores in members.items()}
    entries = {name: fuse([value]) for name, value in logits.items()}
    fused = fuse(list(logits.values()), weights, args.method)
    if len(entries) > 1:
        entries['fused'] = fused
    right = {name: value.argmax(1) == first.label for name, value in entries.items()}
    result = {
        'method': args.method,
        'weights': dict(zip(members, weights, strict=True)),
        'searched': searched,
        'clips': len(first),
        'entries': {
            name: evaluate(value, first.label, args.rounds) for name, value in entries.items()
        },
        'pairs': compare(right, args.rounds),
    }
    if args.json:
        write_json(args.json, result)
    if args.dump:
        save_scores(args.dump, first.clip_id, first.label, {'pred': fused}, first.classes)
    print(to_markdown(result))
