"""HTML pages in one file, without scripts and links and with the figures inside."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..io.atomic import write_text
from ..io.names import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
:root { --ink: #1d2430; --dim: #667085; --line: #e3e7ee; --bar: #4c78a8; --miss: #d98b3a; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif;
  color: var(--ink); max-width: 1240px; margin: 0 auto; padding: 24px; background: #fff; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 34px 0 10px; }
p { margin: 4px 0; } .dim { color: var(--dim); }
.verdict { margin: 16px 0; padding: 12px 16px; border-radius: 8px; font-weight: 600; }
.bad { background: #fdecea; color: #9b1c1c; } .good { background: #e8f5ec; color: #14653a; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--dim); font-weight: 600; border-bottom: 2px solid var(--line); }
th, td { padding: 5px 10px 5px 0; vertical-align: top; }
td { border-bottom: 1px solid var(--line); }
.wrap { overflow-wrap: anywhere; min-width: 280px; }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.chip { white-space: nowrap; padding: 1px 8px; border-radius: 9px; color: #fff; font-size: 12px; }
.error { background: #c62828; } .warning { background: #b26a00; } .note { background: #5a6b86; }
code { white-space: nowrap; font-size: 12.5px; color: #38445a; }
.bar { display: inline-block; height: 9px; border-radius: 2px; background: var(--bar);
  vertical-align: middle; margin-right: 6px; }
.bar.miss { background: var(--miss); }
.count { white-space: nowrap; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; } img { max-width: 100%; }
svg text { font: 11px system-ui, 'DejaVu Sans', sans-serif; fill: var(--dim); }
"""


def escape(text: object) -> str:
    """A text from outside in one line of HTML, also within an attribute."""
    return html.escape(shown(text))


def save_page(path: str | os.PathLike, title: str, parts: Iterable[str]) -> None:
    """Writes a page.

    Args:
        path: HTML file.
        title: Title of the browser's window.
        parts: HTML of the page's body.
    """
    page = [
        '<!DOCTYPE html>',
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{escape(title)}</title><style>{STYLE}</style></head><body>',
        *parts,
        '</body></html>',
    ]
    write_text(path, '\n'.join(page) + '\n')


def table(names: list[str], rows: list[list[str]]) -> list[str]:
    """A table.

    Args:
        names: Names of the columns. The name of a column of numbers begins with ``#``.
        rows: Cells with their ``<td>``.
    """
    heads = [
        f'<th class="num">{escape(name[1:])}</th>'
        if name[:1] == '#'
        else f'<th>{escape(name)}</th>'
        for name in names
    ]
    body = [f'<tr>{"".join(row)}</tr>' for row in rows]
    return [
        '<div class="scroll"><table>',
        f'<thead><tr>{"".join(heads)}</tr></thead><tbody>',
        *body,
        '</tbody></table></div>',
    ]


def picture(figure: Figure, text: str, dpi: int = 80) -> str:
    """A figure inside the page, with a description in words."""
    stream = io.BytesIO()
    figure.savefig(stream, format='png', dpi=dpi)
    data = base64.b64encode(stream.getvalue()).decode('ascii')
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'
