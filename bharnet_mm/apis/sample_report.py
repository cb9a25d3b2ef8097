"""Accuracy of the experts on the synthetic sample and its known ceilings, as table and figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..datasets.store import ClipStore
from ..datasets.synthetic.ceilings import body_ceiling, fused_ceiling, hand_ceiling
from ..datasets.synthetic.gestures import find_gestures
from ..datasets.synthetic.sample import NAME
from ..evaluation.scores import Scores
from .training_curve import TrainingCurve
from .visualizer import draw_clip, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

_SKELETON = {'body': 'body expert', 'hand': 'hand expert', 'fused': 'both'}
_WITH_RGB = {
    'body': 'body expert',
    'hand': 'hand expert',
    'skeleton': 'body + hands',
    'rgb': 'rgb expert',
    'fused': 'all three',
}
_COLORS = {
    'body': '#3b7dd8',
    'hand': '#e8853a',
    'skeleton': '#8d7fa8',
    'rgb': '#c2455f',
    'fused': '#3f9e57',
}


class Group(NamedTuple):
    """Classes that look alike to one expert."""

    name: str
    classes: list[int]

    @property
    def ceiling(self) -> float:
        """Best top-1 within the group for the expert to which its classes look alike."""
        return 1 / len(self.classes)


def experts(scores: Scores) -> dict[str, str]:
    """Names of the rows to show; with an rgb expert also body and hands without it."""
    return _WITH_RGB if 'rgb' in scores.logits else _SKELETON


def correct(scores: Scores, expert: str) -> np.ndarray:
    """Which clips an expert gets right, (N,) bool; `skeleton` is the sum of body and hands."""
    if expert != 'skeleton':
        return scores.correct(expert)
    return (scores.logits['body'] + scores.logits['hand']).argmax(axis=1) == scores.label


def ceilings(scores: Scores) -> dict[str, float]:
    """Known best top-1 of each expert on the sample."""
    classes, rgb = scores.classes, 'rgb' in scores.logits
    known = {
        'body': body_ceiling(classes),
        'hand': hand_ceiling(classes),
        'skeleton': fused_ceiling(classes),
        'rgb': 1.0,
        'fused': fused_ceiling(classes, rgb=rgb),
    }
    return {expert: known[expert] for expert in experts(scores)}


def groups(classes: Sequence[str]) -> tuple[list[Group], list[Group], list[Group]]:
    """Classes that look alike: same arm motion; same hand action and persons; same motion and
    action.
    """
    arms: dict[str, list[int]] = {}
    hands: dict[str, list[int]] = {}
    both: dict[str, list[int]] = {}
    for i, gesture in enumerate(find_gestures(classes)):
        arms.setdefault(gesture.arm, []).append(i)
        persons = '' if gesture.persons == 1 else f',\n{gesture.persons} persons'
        hands.setdefault(gesture.hand + persons, []).append(i)
        both.setdefault(f'{gesture.arm} +\n{gesture.hand}', []).append(i)
    return tuple([Group(*item) for item in found.items()] for found in (arms, hands, both))


def accuracy(scores: Scores, expert: str, classes: Sequence[int]) -> float:
    """Top-1 of an expert on the clips of some classes; NaN if there are none."""
    chosen = np.isin(scores.label, classes)
    return float(correct(scores, expert)[chosen].mean()) if chosen.any() else float('nan')


def make_table(scores: Scores) -> Table:
    """A `rich` table: each expert's top-1, its known ceiling and the range of chance around it."""
    from rich.table import Table

    table = Table(title=f'{NAME}: top-1 on {len(scores)} test clips, {len(scores.classes)} classes')
    for column in ('', 'reached', 'known ceiling', 'one s.d. of chance'):
        table.add_column(column, justify='right' if column else 'left')
    names = experts(scores)
    for expert, ceiling in ceilings(scores).items():
        # The ceiling is an expectation. Each clip is right with that probability.
        chance = np.sqrt(ceiling * (1 - ceiling) / len(scores))
        reached = correct(scores, expert).mean()
        table.add_row(names[expert], f'{reached:.3f}', f'{ceiling:.3f}', f'± {chance:.3f}')
    table.caption = (
        'Classes are made of arm motions, hand actions and objects that several classes share, '
        'so no expert can pass its ceiling. Synthetic data: no claim about real actions.'
    )
    return table


def draw_report(
    path: str | Path,
    scores: Scores,
    curve: TrainingCurve | None = None,
    store: ClipStore | None = None,
) -> None:
    """Writes the figure.

    Args:
        path (str | Path): PNG file.
        scores (Scores): `body`, `hand` and `fused` logits of clips of the sample.
        curve (Curve | None): Curve of the training.
        store (ClipStore | None): Store of the example clip. The figure shows a clip that only the
            experts together get right, if there is one.
    """
    heights = [8] if store is None else [8, 4.5]
    figure = new_figure(15, sum(heights))
    parts = figure.subfigures(1 if store is None else 2, 1, squeeze=False, height_ratios=heights)
    top = parts[0, 0]
    top.suptitle(f'{NAME} (no real data): top-1 on {len(scores)} test clips', fontsize=13)
    below = ['held', 'held', 'all', 'all', 'curve', 'curve']
    if 'rgb' not in scores.logits:
        below = ['all'] * 3 + ['curve'] * 3
    axes = top.subplot_mosaic(
        [['arm'] * 3 + ['hand'] * 3, below],
        gridspec_kw=dict(left=0.05, right=0.94, bottom=0.07, top=0.86, hspace=0.45, wspace=0.4),
    )
    arms, hands, both = groups(scores.classes)
    _bars(axes['arm'], scores, arms, 'by arm motion: bodies of a group look alike')
    _bars(axes['hand'], scores, hands, 'by hand action: hands of a group look alike')
    if 'held' in axes:
        several = [group for group in both if len(group.classes) > 1]
        _bars(axes['held'], scores, several, 'by object held: bodies and hands look alike')
    shown = axes['arm'].get_legend_handles_labels()
    top.legend(*shown, loc='upper center', bbox_to_anchor=(0.5, 0.955), ncols=6, frameon=False)
    _overall(axes['all'], scores)
    _curves(axes['curve'], curve)
    if store is not None:
        clip = store[store.find(_example(scores))]
        title = f'{NAME}: "{store.classes[clip.label]}" ({clip.clip_id})'
        draw_clip(clip, store.body_layout, store.hand_layout, 8, title, figure=parts[1, 0])
    save_figure(figure, path, dpi=90)


def _bars(ax: Axes, scores: Scores, shown: list[Group], alike: str) -> None:
    place, names = np.arange(len(shown)), experts(scores)
    step = 0.81 / len(names)
    for i, (expert, name) in enumerate(names.items()):
        heights = [accuracy(scores, expert, group.classes) for group in shown]
        left = place + step * (i - (len(names) - 1) / 2)
        ax.bar(left, heights, 0.92 * step, color=_COLORS[expert], label=name)
    for i, group in enumerate(shown):
        label = 'known ceiling of those to whom a group looks alike' if i == 0 else None
        ax.hlines(group.ceiling, i - 0.45, i + 0.45, color='black', ls='--', lw=1.3, label=label)
    below = [f'{g.name}\n{len(g.classes)} class{"es" * (len(g.classes) > 1)}' for g in shown]
    ax.set_xticks(place, below, fontsize=7.5)
    ax.set_title(alike, fontsize=10)
    _percent(ax)


def _overall(ax: Axes, scores: Scores) -> None:
    names = experts(scores)
    for i, (expert, ceiling) in enumerate(ceilings(scores).items()):
        reached = correct(scores, expert).mean()
        ax.bar(i, reached, 0.6, color=_COLORS[expert])
        ax.text(i, reached / 2, f'{reached:.1%}', ha='center', va='center', color='white')
        ax.hlines(ceiling, i - 0.42, i + 0.42, color='black', ls='--', lw=1.5)
        ax.text(i, ceiling + 0.015, f'{ceiling:.1%}', ha='center', fontsize=8)
    ax.set_xticks(range(len(names)), [name.replace(' ', '\n', 1) for name in names.values()])
    ax.set_xlim(-0.6, len(names) - 0.2)
    ax.set_title('all classes: reached, and the known ceiling (dashed)', fontsize=10)
    _percent(ax)


def _curves(ax: Axes, curve: TrainingCurve | None) -> None:
    ax.set_title('training', fontsize=10)
    loss = None if curve is None else curve.losses.get('loss')
    if loss is None or not len(loss):
        ax.text(0.5, 0.5, 'no log', ha='center', transform=ax.transAxes)
        return
    ax.plot(*loss.T, color='0.45', lw=1.2)
    ax.set_xlabel('epoch')
    ax.set_ylabel('loss (grey)')
    ax.set_ylim(bottom=0)
    if len(top1 := curve.measures.get('acc/top1', ())):
        right = ax.twinx()
        right.plot(*top1.T, color=_COLORS['fused'], marker='.')
        right.set_ylabel('top-1 of all together on the test split (green)')
        right.set_ylim(0, 1)


def _percent(ax: Axes) -> None:
    ax.set_ylim(0, 1.08)
    ax.set_yticks(np.linspace(0, 1, 6), [f'{v:.0%}' for v in np.linspace(0, 1, 6)], fontsize=8)
    ax.grid(axis='y', color='0.92')
    ax.set_axisbelow(True)


def _example(scores: Scores) -> str:
    """A clip that the experts together get right and as few as possible alone."""
    names = [expert for expert in experts(scores) if expert != 'fused']
    value = 2.0 * scores.correct('fused')
    value -= np.mean([correct(scores, expert) for expert in names], axis=0)
    return str(scores.clip_id[value.argmax()])
