"""All of ``make reliability``: kills, hostile input and a soak; writes JSON and a table.

``python tests/reliability/run.py --out build/reliability``
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from bharnet_mm.io.atomic import write_text

HERE = Path(__file__).parent


def table(rows: dict[str, dict]) -> str:
    """A Markdown table: one row a name, one column a value."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = [f'| | {" | ".join(columns)} |', '|---' * (len(columns) + 1) + '|']
    for name, row in rows.items():
        lines.append(f'| {name} | {" | ".join(str(row.get(key, "")) for key in columns)} |')
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=200)
    parser.add_argument('--cases', type=int, default=10_000)
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--out', type=Path, default=Path('build/reliability'))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    parts = {
        'kill': ['--kills', args.kills],
        'fuzz': ['--cases', args.cases],
        'soak': ['--minutes', args.minutes],
    }
    failed, page = [], ['# Reliability\n']
    for name, options in parts.items():
        file = args.out / f'{name}.json'
        file.unlink(missing_ok=True)
        command = [sys.executable, '-W', 'ignore', HERE / f'{name}.py', *options, '--json', file]
        if subprocess.run([str(word) for word in command], check=False).returncode:
            failed.append(name)
        if file.exists():
            found = json.loads(file.read_text())
            if isinstance(found, list):
                found = {str(i): row for i, row in enumerate(found)}
            page += [f'## {name} {" ".join(map(str, options))}\n', table(found)]
    write_text(args.out / 'reliability.md', '\n'.join(page))
    sys.exit(f'failed: {failed}' if failed else 0)


if __name__ == '__main__':
    main()
