"""Writes a report on a trained model as one HTML page: accuracy, errors and attention.

python tools/analysis/report.py work_dirs/bharnet_p_sample --out work_dirs/report.html

Takes work folders of tools/train.py, or the folds of leave_one_out.py, whose test clips are joined.
``--against`` names the runs of a body-only model on the same clips, to see what the hands add;
without it the fused prediction is compared with the model's own body expert, which in BHaRNet-P and
-E depends on the hands through the attention.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..apis.attention_maps import AttentionMap, AttentionRecorder
from ..apis.model_report import write_report
from ..apis.trained_run import TrainedRun
from ..apis.training_curve import read_training_curve
from ..evaluation.fusion import align, concatenate
from ..io.outputs import output_file
from ..layouts import get_layout


def mean_map(maps: list[AttentionMap]) -> AttentionMap:
    """Mean over runs."""
    return AttentionMap(
        focus=np.mean([m.focus for m in maps], axis=0),
        change=float(np.mean([m.change for m in maps])),
        clips=sum(m.clips for m in maps),
    )


class PoseMean:
    """Mean pose of the visible frames in a model's inputs."""

    def __init__(self) -> None:
        self.sums: dict[str, list] = {}

    def __call__(self, data: dict) -> None:
        """Adds the visible poses of one batch, as a data loader gives it."""
        if not isinstance(data['inputs'], dict):
            return
        for part in ('body', 'hand'):
            mask = data['inputs'][f'{part}_mask']
            visible = data['inputs'][part][mask].double()
            total, count = self.sums.get(part, (0.0, 0))
            self.sums[part] = total + visible.sum(0), count + len(visible)

    def poses(self) -> dict[str, np.ndarray]:
        """'body' and 'hand' → (V, C)."""
        return {part: (x / max(n, 1)).numpy() for part, (x, n) in self.sums.items()}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', nargs='+', help='work folders')
    parser.add_argument('--against', nargs='+', help='work folders of a body-only model')
    parser.add_argument('--title', help="default: the config's name")
    parser.add_argument('--out', type=output_file, required=True, help='the HTML file')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Tests the runs and writes the page."""
    args = parse_args(argv)
    scores, recorded, pose = [], [], PoseMean()
    for folder in args.runs:
        run = TrainedRun(folder)
        recorder = AttentionRecorder(run.model)
        with recorder.listening():
            scores.append(run.scores(pose))
        recorded.append(recorder.maps())
    members = {'scores': concatenate(scores)}
    if args.against:
        members['against'] = concatenate([TrainedRun(folder).scores() for folder in args.against])
        members = align(members)
    maps = {key: mean_map([maps[key] for maps in recorded]) for key in recorded[0]}
    layouts = {}
    if maps:
        experts = run.cfg.model.backbone
        layouts = {part: get_layout(experts[part].layout) for part in ('body', 'hand')}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_report(
        args.out,
        title=args.title or Path(run.cfg.filename).stem,
        scores=members['scores'],
        without=members.get('against'),
        maps=maps,
        poses=pose.poses(),
        layouts=layouts,
        curves={Path(folder).name: read_training_curve(folder) for folder in args.runs},
        facts=f'{len(members["scores"])} test clips of {len(args.runs)} runs: '
        + ', '.join(Path(folder).name for folder in args.runs),
    )
    print(f'written: {args.out}')
