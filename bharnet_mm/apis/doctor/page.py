"""Writes the diagnosis as one HTML page without scripts and links and with the figures inside."""

from __future__ import annotations

import os
from typing import Any

from ..html_page import escape, picture, save_page, table
from .diagnosis import Diagnosis
from .summary import overview, quiet_checks
from .survey import share_text

#: Splits with a column of their own in the table of classes; more would not be readable.
MAX_COLUMNS = 6


def write_page(path: str | os.PathLike, diagnosis: Diagnosis) -> None:
    """Writes the page.

    Args:
        path: HTML file.
        diagnosis: What to show. One clip is drawn, if there is one.
    """
    parts = [
        *_head(diagnosis),
        *_findings(diagnosis),
        *_splits(diagnosis),
        *_classes(diagnosis),
        *_lengths(diagnosis),
        *_strip(diagnosis),
    ]
    save_page(path, f'{diagnosis.name}: data report', parts)


def _head(diagnosis: Diagnosis) -> list[str]:
    first, *lines = overview(diagnosis)
    wrong = diagnosis.exit_status
    result = 'Training or its result would be wrong' if wrong else 'Fit for training'
    return [
        f'<h1>{escape(diagnosis.name)}</h1>',
        f'<p class="dim">{escape(first)}</p>',
        *(f'<p>{escape(line[:1].upper() + line[1:])}.</p>' for line in lines),
        f'<p class="verdict {"bad" if wrong else "good"}">{result}: {diagnosis.verdict}.</p>',
    ]


def _findings(diagnosis: Diagnosis) -> list[str]:
    rows = [
        [
            f'<td><span class="chip {item.severity}">{item.severity}</span></td>',
            f'<td>{escape(item.check)}</td>',
            f'<td class="num">{f"{item.count:,}" if item.count else ""}</td>',
            f'<td class="wrap">{escape(item.message)}<br>'
            f'<span class="dim">{escape(item.fix)}</span></td>',
            f'<td>{"<br>".join(f"<code>{escape(name)}</code>" for name in item.examples)}</td>',
        ]
        for item in diagnosis.findings
    ]
    parts = ['<h2>Findings</h2>']
    if rows:
        parts += table(['', 'check', '#count', 'what was found, and what to do', 'examples'], rows)
    if quiet := quiet_checks(diagnosis):
        parts.append(f'<p class="dim">Nothing found by: {escape(", ".join(quiet))}.</p>')
    return parts


def _splits(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.splits:
        return []
    most = max(row['clips'] for row in diagnosis.splits)
    rows = [
        [
            f'<td>{escape(row["name"])}</td>',
            _bar(row['clips'], most),
            f'<td class="num">{row["classes"]}</td>',
            f'<td class="num">{row["subjects"] or "-"}</td>',
            f'<td class="num">{share_text(row["missing_person"])}</td>',
            f'<td class="num">{share_text(row["missing_hands"])}</td>',
        ]
        for row in diagnosis.splits
    ]
    names = ['split', 'clips', '#classes', '#subjects', '#frames without person', '#without hand']
    return ['<h2>Splits</h2>', *table(names, rows)]


def _classes(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.classes:
        return []
    shown = [row['name'] for row in diagnosis.splits][:MAX_COLUMNS]
    most = max(row['clips'] for row in diagnosis.classes)
    most_of = {name: max(row['splits'][name] for row in diagnosis.classes) for name in shown}
    hands = diagnosis.totals.get('hand_layout')
    rows = []
    for row in diagnosis.classes:
        cells = [f'<td class="num dim">{row["number"]}</td>', f'<td>{escape(row["name"])}</td>']
        cells.append(_bar(row['clips'], most))
        cells += [_bar(row['splits'][name], most_of[name], 32) for name in shown]
        keys = ('missing_left', 'missing_right', 'missing_hands') if hands else ()
        cells += [_share_bar(row[key]) for key in keys]
        cells.append(_share_bar(row['missing_person']))
        rows.append(cells)
    names = ['#', 'class', 'clips', *shown]
    names += ['no left hand', 'no right hand', 'no hand'] if hands else []
    parts = ['<h2>Classes</h2>', *table([*names, 'no person'], rows)]
    parts.append(
        '<p class="dim">The last columns are shares of frames in which the part is missing.</p>'
    )
    if len(diagnosis.splits) > len(shown):
        parts.append(f'<p class="dim">Only the first {len(shown)} splits have a column.</p>')
    return parts


def _lengths(diagnosis: Diagnosis) -> list[str]:
    edges, counts = diagnosis.lengths.get('edges', []), diagnosis.lengths.get('counts', [])
    if not counts:
        return []
    width, height, left, bottom = 760, 180, 46, 24
    step, most = min((width - left) / len(counts), 60), max(counts)
    bars, labels = [], []
    every = -(-len(counts) // 12)
    for k, count in enumerate(counts):
        x, tall = left + k * step, (height - bottom - 14) * count / most
        low, high = edges[k], edges[k + 1] - 1
        name = f'{low} frames' if low == high else f'{low} to {high} frames'
        bars.append(
            f'<rect x="{x + 1:.1f}" y="{height - bottom - tall:.1f}" '
            f'width="{max(step - 2, 1):.1f}" '
            f'height="{tall:.1f}" fill="#4c78a8"><title>{name}: {count:,} clips</title></rect>'
        )
        if k % every == 0:
            labels.append(f'<text x="{x + 1:.1f}" y="{height - 8}">{low}</text>')
    base = height - bottom
    return [
        '<h2>Lengths</h2>',
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        'style="max-width:100%" aria-label="clips by number of frames">',
        f'<line x1="{left}" y1="{base}" x2="{width}" y2="{base}" stroke="#c3cad6"/>',
        f'<text x="{left - 6}" y="18" text-anchor="end">{most:,}</text>',
        f'<text x="{left - 6}" y="{base}" text-anchor="end">0</text>',
        *bars,
        *labels,
        '</svg>',
        '<p class="dim">Clips by number of frames.</p>',
    ]


def _strip(diagnosis: Diagnosis) -> list[str]:
    collection = diagnosis.collection
    if collection is None or diagnosis.example is None:
        return []
    from ..visualizer import draw_clip  # needs matplotlib, which only the page does

    clip = collection.clip(diagnosis.example)
    label = clip.label
    name = collection.classes[label] if 0 <= label < len(collection.classes) else f'label {label}'
    figure = draw_clip(
        clip, collection.body_layout, collection.hand_layout, 7, f'{name} ({clip.clip_id})'
    )
    return ['<h2>One clip</h2>', picture(figure, f'clip {clip.clip_id}, {name}')]


def _bar(value: int, most: int, width: int = 60) -> str:
    size = round(width * value / most) if most else 0
    bar = f'<span class="bar" style="width:{size}px"></span>'
    return f'<td class="count">{bar}{value:,}</td>'


def _share_bar(value: Any, width: int = 40) -> str:
    if value is None:
        return '<td class="count">-</td>'
    bar = f'<span class="bar miss" style="width:{round(width * value)}px"></span>'
    return f'<td class="count">{bar}{share_text(value)}</td>'
