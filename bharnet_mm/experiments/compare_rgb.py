"""A table of the ways in which an M can read its regions, on one split.

python tools/analysis/compare_rgb.py configs/bharnet_m_jhmdb.py \
    --train jhmdb1_fit --test jhmdb1_held --seeds 0 1 2 --out data/compare_rgb

The grid as one image (BodyGuidedRGB) beside cells (RegionEncoder), from random weights beside
weights of ImageNet (extra `.[rgb]`), with and without motion. All else is as the config says. Runs
that are done are kept; with --no-train the table is made of what there is. Choose settings on
training clips that are held out, and test with --test on the others once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config

from ..errors import ConfigError
from ..evaluation import load_scores
from ..io.arguments import integer, seed_number
from ..io.atomic import write_json
from ..io.lock import FolderLock
from ..io.names import table_row
from ..io.outputs import output_file, output_folder
from .cross_validation import Entry, run_config

_STAGES = dict(num_stages=3, out_indices=(2,), strides=(2, 2, 2), dilations=(1, 1, 1))
SCRATCH = dict(type='ResNet', depth=18, **_STAGES)
IMAGENET = dict(type='timm.tf_efficientnet_lite0', pretrained='efficientnet_lite0', prune_head=True)
FROZEN = IMAGENET | dict(frozen_stages=99)
#: Name to the network's form, backbone and whether it reads motion.
VARIANTS: dict[str, tuple[str, dict, bool]] = {
    'grid, random': ('BodyGuidedRGB', SCRATCH, False),
    'grid, ImageNet': ('BodyGuidedRGB', IMAGENET, False),
    'cells, random': ('RegionEncoder', SCRATCH, False),
    'cells, random, motion': ('RegionEncoder', SCRATCH, True),
    'cells, ImageNet frozen': ('RegionEncoder', FROZEN, False),
    'cells, ImageNet frozen, motion': ('RegionEncoder', FROZEN, True),
}


def variant_config(entry: Entry, name: str, splits: tuple[str, str]) -> Config:
    """The config of a variant, to train on one split and to test on another."""
    cfg = entry.read()
    kind, backbone, motion = VARIANTS[name]
    rgb = {key: value for key, value in cfg.model.rgb.items() if key in ('parts', 'detach')}
    rgb |= dict(type=kind, backbone=backbone)
    cfg.model.rgb = rgb | (dict(motion=motion) if kind == 'RegionEncoder' else {})
    for loader, split in zip(('train', 'val', 'test'), (*splits, splits[1]), strict=True):
        data = cfg[f'{loader}_dataloader'].dataset
        data.split = split
        data.regions.motion = motion
        data.regions.jitter = 0.0 if backbone is FROZEN else 0.1
    return cfg


def rows_of(out: Path, names: Sequence[str], seeds: Sequence[int]) -> list[dict]:
    """One row a variant: mean and standard deviation over its seeds of each expert's top-1."""
    rows = []
    for name in names:
        files = [folder_of(out, name, seed) / 'scores.npz' for seed in seeds]
        scores = [load_scores(file) for file in files if file.exists()]
        row: dict = dict(name=name, seeds=len(scores))
        for expert in ('body', 'hand', 'rgb', 'fused', 'pred'):
            top1 = [s.top1(expert) for s in scores if expert in s.logits]
            if top1:
                spread = float(np.std(top1, ddof=1)) if len(top1) > 1 else None
                row[expert] = dict(mean=float(np.mean(top1)), std=spread)
        rows.append(row)
    return rows


def folder_of(out: Path, name: str, seed: int) -> Path:
    """Where the files of a variant and a seed lie."""
    return out / f'{name.replace(", ", "-").replace(" ", "_")}_seed{seed}'


def to_markdown(rows: Sequence[dict]) -> str:
    """The table; `pred` is the prediction with the config's fusion weights."""
    lines = ['| images | seeds | body | hand | rgb | equal sum | pred |', '|---' * 7 + '|']
    for row in rows:
        cells = [row['name'], str(row['seeds'])]
        for expert in ('body', 'hand', 'rgb', 'fused', 'pred'):
            if expert not in row:
                cells.append('-')
                continue
            spread = row[expert]['std']
            cells.append(f'{row[expert]["mean"]:.3f}' + (f' ± {spread:.3f}' if spread else ''))
        lines.append(table_row(cells))
    return '\n'.join(lines) + '\n'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    out = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out.add_argument('config', help='of a BHaRNetM')
    out.add_argument('--train', required=True, help='split to train on')
    out.add_argument('--test', required=True, help='split to test on')
    out.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS))
    out.add_argument('--seeds', nargs='+', type=seed_number, default=[0])
    out.add_argument(
        '--out', type=output_folder, required=True, help='where runs and scores are kept'
    )
    out.add_argument('--data-root', help='sets data_root of the config')
    out.add_argument('--epochs', type=integer(1), help='sets max_epochs of the config')
    out.add_argument('--amp', action='store_true', help='train in mixed precision')
    out.add_argument('--fit-fusion', action='store_true', help='as tools/train.py --fit-fusion')
    out.add_argument('--no-train', action='store_true', help='only make the table')
    out.add_argument('--json', type=output_file, help='write the rows there')
    return out.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Trains and tests what is missing, seed by seed, and prints the table."""
    args = parse_args(argv)
    given = dict(data_root=args.data_root, max_epochs=args.epochs)
    options = {key: value for key, value in given.items() if value is not None}
    entry = Entry(
        config=args.config,
        work_dir=args.out,
        cfg_options=options or None,
        amp=args.amp,
        threads=1,
        fit_fusion=args.fit_fusion,
    )
    if not args.no_train:
        args.out.mkdir(parents=True, exist_ok=True)
        with FolderLock(args.out / 'lock', 'run', ConfigError):
            for seed in args.seeds:
                for name in args.variants:
                    cfg = variant_config(entry, name, (args.train, args.test))
                    run_config(entry, cfg, folder_of(args.out, name, seed), seed)
    rows = rows_of(args.out, args.variants, args.seeds)
    if args.json:
        write_json(args.json, dict(train=args.train, test=args.test, rows=rows))
    print(to_markdown(rows))
