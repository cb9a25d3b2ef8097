"""Report on a trained model as one HTML page with figures: accuracy, errors and attention."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..evaluation import Scores
from ..evaluation.measures import measure, softmax
from ..layouts import SkeletonLayout
from .attention_maps import AttentionMap
from .html_page import escape, picture, save_page, table
from .training_curve import TrainingCurve
from .visualizer import figure_text, new_figure, y_points_down

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: If there are more classes than this, a figure does not name each of them.
MAX_NAMED = 40
_COLORS = {'body': '#3b7dd8', 'hand': '#e8853a', 'rgb': '#9467bd', 'pred': '#3f9e57'}
_COLORS['without'] = '#8a93a3'
_NAMES = {'pred': 'fused', 'without': 'body-only model'}


def confusion_matrix(scores: Scores, expert: str = 'pred') -> np.ndarray:
    """Clips by true class (row) and predicted class (column), (K, K) int64."""
    classes = len(scores.classes)
    pairs = scores.label * classes + scores.logits[expert].argmax(1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_accuracy(scores: Scores, expert: str) -> np.ndarray:
    """Accuracy of an expert by class, (K,), 0 to 1; NaN for a class without clips."""
    counts = np.bincount(scores.label, minlength=len(scores.classes)).astype(float)
    right = np.bincount(scores.label, scores.correct(expert), len(scores.classes))
    return np.divide(right, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def draw_confusion(scores: Scores) -> Figure:
    """Rows are true classes; colour is the share of the row, numbers are clips."""
    matrix = confusion_matrix(scores)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    classes = len(matrix)
    size = min(4 + 0.42 * classes, 15)
    figure = new_figure(size + 1, size)
    ax = figure.add_subplot()
    ax.imshow(share, cmap='Blues', vmin=0, vmax=1)
    ax.set_xlabel('predicted')
    ax.set_ylabel('true')
    if classes <= MAX_NAMED:
        names = [figure_text(name) for name in scores.classes]
        ax.set_xticks(range(classes), names, rotation=60, ha='right', fontsize=8)
        ax.set_yticks(range(classes), names, fontsize=8)
        for i, j in zip(*np.nonzero(matrix), strict=True):
            color = 'white' if share[i, j] > 0.5 else 'black'
            ax.text(j, i, matrix[i, j], ha='center', va='center', fontsize=7, color=color)
    figure.tight_layout()
    return figure


def draw_classes(accuracy: Mapping[str, np.ndarray], classes: tuple[str, ...]) -> Figure:
    """Accuracy by class of each expert, sorted by the gain of the fused prediction over the first
    expert. Of many classes only the first and the last ones are shown.
    """
    first = next(iter(accuracy))
    gain = accuracy['pred'] - accuracy[first]
    order = [i for i in np.argsort(gain, kind='stable') if np.isfinite(gain[i])]
    if len(order) > MAX_NAMED:
        order = order[: MAX_NAMED // 2] + order[-MAX_NAMED // 2 :]
    figure = new_figure(9, 1.2 + 0.4 * len(order))
    ax = figure.add_subplot()
    height = 0.8 / len(accuracy)
    for k, (name, values) in enumerate(accuracy.items()):
        place = np.arange(len(order)) + 0.4 - (k + 0.5) * height
        label = _NAMES.get(name, name)
        ax.barh(place, values[order], height, color=_COLORS.get(name), label=label)
    names = [f'{figure_text(classes[i])}  {gain[i]:+.2f}' for i in order]
    ax.set_yticks(range(len(order)), names, fontsize=8)
    ax.set_xlim(0, 1)
    ax.set_xlabel('share of clips that are right')
    ax.legend(loc='upper center', bbox_to_anchor=(0.5, -0.6 / (0.4 * len(order) + 0.6)), ncols=4)
    ax.margins(y=0.02)
    figure.tight_layout()
    return figure


def draw_attention(
    maps: Mapping[tuple[str, str], AttentionMap],
    poses: Mapping[str, np.ndarray],
    layouts: Mapping[str, SkeletonLayout],
) -> Figure:
    """Two rows: the attention of the body to the tokens of the hands, and the reverse.

    Args:
        maps: (expert, axis) → map.
        poses: 'body' and 'hand' → mean pose (V, 2 or 3).
        layouts: 'body' and 'hand' → layout.
    """
    figure = new_figure(14, 8)
    axes = figure.subplots(2, 4, width_ratios=[1.1, 1.4, 1, 0.8])
    for row, (looking, other) in zip(axes, (('body', 'hand'), ('hand', 'body')), strict=True):
        color = _COLORS[looking]
        if (looking, 'frame') in maps:
            _bars(row[0], maps[looking, 'frame'].focus, color)
            row[0].set_title(f'{looking} looks at: frames of the {other}', fontsize=10)
            row[0].set_xlabel('frame of the features')
        if (looking, 'joint') in maps:
            focus = maps[looking, 'joint'].focus
            _skeleton(row[1], poses[other], layouts[other], focus)
            best = [figure_text(layouts[other].joints[i]) for i in np.argsort(-focus)[:3]]
            row[1].set_title(f'joints of the {other}\n{", ".join(best)}', fontsize=9)
        if (looking, 'instance') in maps:
            _bars(row[2], maps[looking, 'instance'].focus, color)
            row[2].set_title(f'{other} instances (by person)', fontsize=10)
            slots = len(maps[looking, 'instance'].focus)
            names = [
                f'{i // 2}\n{("left", "right")[i % 2]}' if other == 'hand' else f'{i}'
                for i in range(slots)
            ]
            row[2].set_xticks(range(slots), names, fontsize=8)
        change = {axis: m.change for (who, axis), m in maps.items() if who == looking}
        row[3].bar(range(len(change)), list(change.values()), color=color)
        row[3].set_xticks(range(len(change)), list(change), fontsize=8)
        row[3].set_title(f"change of the {looking}'s tokens", fontsize=10)
    figure.tight_layout()
    return figure


def _bars(ax: Axes, focus: np.ndarray, color: str) -> None:
    ax.bar(range(len(focus)), np.nan_to_num(focus), color=color)
    ax.axhline(1, color='0.3', lw=0.8, ls=':')
    ax.set_ylabel('attention, 1 = even', fontsize=8)


def _skeleton(ax: Axes, pose: np.ndarray, layout: SkeletonLayout, focus: np.ndarray) -> None:
    x, y = pose[:, 0], pose[:, 1]
    for i, j in layout.edge_index:
        ax.plot(x[[i, j]], y[[i, j]], color='0.75', lw=1.2, zorder=1)
    limit = max(np.nanmax(np.abs(focus - 1)), 0.05)
    dots = ax.scatter(
        x,
        y,
        c=focus,
        cmap='coolwarm',
        vmin=1 - limit,
        vmax=1 + limit,
        s=60 * np.clip(focus, 0.2, 4),
        zorder=2,
        edgecolors='0.4',
        linewidths=0.4,
        clip_on=False,
    )
    ax.figure.colorbar(dots, ax=ax, shrink=0.8)
    ax.set_aspect('equal')
    if y_points_down(pose[None], layout):
        ax.invert_yaxis()
    ax.axis('off')
    ax.margins(0.1)


def draw_curves(curves: Mapping[str, TrainingCurve]) -> Figure:
    """Loss of each run, and its validation accuracy if there was one."""
    tested = any('acc/top1' in curve.measures for curve in curves.values())
    figure = new_figure(12 if tested else 7, 3.6)
    axes = figure.subplots(1, 2 if tested else 1, squeeze=False)[0]
    for name, curve in curves.items():
        axes[0].plot(*curve.losses.get('loss', np.empty((0, 2))).T, label=name, lw=1.2)
        if 'acc/top1' in curve.measures:
            axes[1].plot(*curve.measures['acc/top1'].T, label=name, lw=1.2)
    axes[0].set_ylabel('training loss')
    for ax in axes:
        ax.set_xlabel('epoch')
        ax.grid(alpha=0.3)
    if tested:
        axes[1].set_ylabel('top-1 of the validation')
    if len(curves) <= 8:
        axes[0].legend(fontsize=8)
    figure.tight_layout()
    return figure


def mistakes(scores: Scores, most: int = 10) -> list[tuple[int, int, int]]:
    """(true class, predicted class, clips) of the most frequent confusions."""
    matrix = confusion_matrix(scores)
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind='stable')[:most]
    pairs = [divmod(int(i), len(matrix)) for i in order]
    return [(i, j, int(matrix[i, j])) for i, j in pairs if matrix[i, j]]


def write_report(
    path: str | os.PathLike,
    title: str,
    scores: Scores,
    without: Scores | None = None,
    maps: Mapping[tuple[str, str], AttentionMap] | None = None,
    poses: Mapping[str, np.ndarray] | None = None,
    layouts: Mapping[str, SkeletonLayout] | None = None,
    curves: Mapping[str, TrainingCurve] | None = None,
    facts: str = '',
) -> None:
    """Writes the page.

    Args:
        path: HTML file.
        title: Heading.
        scores: Scores of the test clips: ``pred`` and perhaps ``body``, ``hand`` and ``rgb``.
        without: Scores of a body-only model on the same clips in the same order.
        maps: Attention maps, if there is an attention, with ``poses`` and ``layouts``.
        curves: Name of a run → its training curve.
        facts: A line about the runs.
    """
    parts = [f'<h1>{escape(title)}</h1>', f'<p class="dim">{escape(facts)}</p>']
    experts = [name for name in ('body', 'hand', 'rgb', 'pred') if name in scores.logits]
    rows = {_NAMES.get(name, name): (scores, name) for name in experts}
    if without is not None:
        rows = {_NAMES['without']: (without, 'pred')} | rows
    parts += ['<h2>Accuracy</h2>', *_measures(rows)]
    if without is not None or 'body' in experts and 'hand' in experts:
        parts += _gain(scores, without, experts)
    parts += ['<h2>Confusions</h2>', picture(draw_confusion(scores), 'confusion matrix')]
    found = mistakes(scores)
    if found:
        cells = [
            [
                f'<td>{escape(scores.classes[i])}</td>',
                f'<td>{escape(scores.classes[j])}</td>',
                f'<td class="num">{n}</td>',
            ]
            for i, j, n in found
        ]
        parts += table(['true', 'taken for', '#clips'], cells)
    if maps:
        clips = max(item.clips for item in maps.values())
        parts += [
            '<h2>Where the attention looks</h2>',
            '<p>Mean over heads, queries and clips, as a multiple of even attention among what is '
            f'visible ({clips} clips in which both are). The right column says how long what the '
            'attention adds is, relative to the token it is added to: the axis that matters.</p>',
            picture(draw_attention(maps, poses, layouts), 'attention by frame, joint, instance'),
        ]
    if curves:
        parts += ['<h2>Training</h2>', picture(draw_curves(curves), 'training curves')]
    save_page(Path(path), title, parts)


def _measures(rows: Mapping[str, tuple[Scores, str]]) -> list[str]:
    names = {'top1': '#top-1', 'top5': '#top-5', 'mean1': '#mean class', 'ece': '#ECE'}
    cells = []
    for name, (scores, expert) in rows.items():
        values = measure(softmax(scores.logits[expert]), scores.label)
        cells.append(
            [f'<td>{escape(name)}</td>']
            + [f'<td class="num">{values[key]:.4f}</td>' for key in names]
        )
    return table(['', *names.values()], cells)


def _gain(scores: Scores, without: Scores | None, experts: list[str]) -> list[str]:
    """The gain by the hands, class by class."""
    if without is None:
        name, base = 'the body expert', scores.correct('body')
        accuracy = {'body': class_accuracy(scores, 'body')}
    else:
        name, base = 'the body-only model', without.correct('pred')
        accuracy = {'without': class_accuracy(without, 'pred')}
    accuracy |= {expert: class_accuracy(scores, expert) for expert in experts}
    if without is None:  # the body comes first, since gains are relative to it
        accuracy = {'body': accuracy.pop('body')} | accuracy
    fused = scores.correct('pred')
    helped, hurt = int((fused & ~base).sum()), int((base & ~fused).sum())
    gain = class_accuracy(scores, 'pred') - next(iter(accuracy.values()))
    worse = [f'{scores.classes[i]} ({gain[i]:+.2f})' for i in np.argsort(gain) if gain[i] < 0]
    return [
        '<h2>Where the hands help, and where they hurt</h2>',
        f'<p>Against {name} the fused prediction is right on <b>{helped}</b> clips more and wrong '
        f'on <b>{hurt}</b> that were right. '
        f'Worse in: {escape(", ".join(worse[:8]) or "no class")}. '
        'Classes by gain; the number behind a name is the gain.</p>',
        picture(draw_classes(accuracy, scores.classes), 'accuracy by class and expert'),
    ]
