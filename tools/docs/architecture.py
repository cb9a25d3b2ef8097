"""Draws the architecture of BHaRNet as an SVG file.

    python tools/docs/architecture.py docs/images/architecture.svg

The figure consists of boxes and arrows. To change it, change the lists below.
"""

from __future__ import annotations

import argparse
from html import escape

from bharnet_mm.io.atomic import write_text
from bharnet_mm.io.outputs import output_file

WIDTH, HEIGHT = 1000, 470
COLORS = {
    'data': '#eceff1',
    'body': '#bbdefb',
    'hand': '#ffe0b2',
    'rgb': '#c8e6c9',
    'both': '#e1bee7',
    'out': '#fff9c4',
}

#: x, y, width, height, color, bold line, further lines
BOXES = [
    (20, 60, 150, 70, 'body', 'body skeletons', '(N, M, T, V, C)', 'one to two people'),
    (20, 180, 150, 70, 'hand', 'hand skeletons', '(N, 2M, T, 21, C)', 'left and right hands'),
    (20, 320, 150, 70, 'rgb', 'region grid', '(N, 3, H, W)', 'head, wrists, ankles'),
    (215, 60, 165, 70, 'body', 'body expert', 'DeGCN: graph and', 'temporal convolutions'),
    (215, 180, 165, 70, 'hand', 'hand expert', 'DeGCN: graph and', 'temporal convolutions'),
    (215, 320, 165, 70, 'rgb', 'rgb expert', '2-D network; regions are', 'weighted by the body'),
    (440, 95, 175, 120, 'both', 'pooling attention',
     'the experts attend to each', 'other over frames, joints', 'and instances (P, E)'),
    (665, 60, 140, 70, 'body', 'classifier', 'body logits (N, K)', 'loss'),
    (665, 180, 140, 70, 'hand', 'classifier', 'hand logits (N, K)', 'loss'),
    (665, 320, 140, 70, 'rgb', 'classifier', 'rgb logits (N, K)', 'loss'),
    (855, 150, 125, 110, 'out', 'fusion', 'sum of logits', 'or Noisy-OR', 'loss of the sum'),
]  # fmt: skip

#: Points of an arrow, its color name, and whether it is dashed.
ARROWS = [
    ([(170, 95), (215, 95)], 'body', False),
    ([(170, 215), (215, 215)], 'hand', False),
    ([(170, 355), (215, 355)], 'rgb', False),
    ([(380, 95), (410, 95), (410, 125), (440, 125)], 'body', False),
    ([(380, 215), (410, 215), (410, 185), (440, 185)], 'hand', False),
    ([(297, 130), (297, 155), (397, 155), (397, 290), (297, 290), (297, 320)], 'body', True),
    ([(380, 355), (665, 355)], 'rgb', False),
    ([(615, 125), (640, 125), (640, 95), (665, 95)], 'body', False),
    ([(615, 185), (640, 185), (640, 215), (665, 215)], 'hand', False),
    ([(805, 95), (825, 95), (825, 180), (855, 180)], 'body', False),
    ([(805, 215), (855, 215)], 'hand', False),
    ([(805, 355), (825, 355), (825, 240), (855, 240)], 'rgb', False),
]
LINES = {'body': '#1565c0', 'hand': '#e65100', 'rgb': '#2e7d32'}

NOTES = [
    (20, 30, 'inputs', 600),
    (215, 30, 'experts', 600),
    (440, 30, 'cross-attention', 600),
    (675, 30, 'branches', 600),
    (855, 30, 'prediction', 600),
    (
        20,
        430,
        'B: experts without attention. P: with pooling attention. E: each expert forks into an '
        'attended and an independent branch.',
        400,
    ),
    (20, 450, 'M: B or P with an rgb expert; the dashed arrow is the body expert’s guidance.', 400),
]  # fmt: skip


def text(x: float, y: float, words: str, weight: int = 400, anchor: str = 'start') -> str:
    """One line of text."""
    attributes = f'x="{x}" y="{y}" font-weight="{weight}" text-anchor="{anchor}"'
    return f'<text {attributes}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, color: str, *lines: str) -> str:
    """A rounded box with centred lines, the first one bold."""
    parts = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{COLORS[color]}" '
        'stroke="#546e7a"/>'
    ]
    top = y + height / 2 - 9 * (len(lines) - 1) + 5
    for i, line in enumerate(lines):
        parts.append(text(x + width / 2, top + 18 * i, line, 400 if i else 600, 'middle'))
    return '\n'.join(parts)


def arrow(points: list[tuple[float, float]], color: str, dashed: bool) -> str:
    """A line through the points with a head at its end."""
    path = ' '.join(f'{x},{y}' for x, y in points)
    dash = ' stroke-dasharray="6 4"' if dashed else ''
    return (
        f'<polyline points="{path}" fill="none" stroke="{LINES[color]}" stroke-width="2"{dash} '
        f'marker-end="url(#head-{color})"/>'
    )


def draw() -> str:
    """The whole figure as SVG text."""
    heads = ''.join(
        f'<marker id="head-{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="{color}"/></marker>'
        for name, color in LINES.items()
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#212121">',
        f'<defs>{heads}</defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *(arrow(*a) for a in ARROWS),
        *(box(*b) for b in BOXES),
        *(text(*note) for note in NOTES),
        '</svg>',
    ]
    return '\n'.join(parts) + '\n'


def main(argv: list[str] | None = None) -> None:
    """Writes the figure."""
    parser = argparse.ArgumentParser(description='Draw the architecture as an SVG file.')
    parser.add_argument('out', type=output_file, help='file to write')
    write_text(parser.parse_args(argv).out, draw())


if __name__ == '__main__':
    main()
