"""All of ``make reliability``: kills, hostile input and a soak; writes JSON and a table.

``python tests/reliability/run.py --out build/reliability``

It works in slices of a minute or so and writes what is done after each: stopped at any time, it
goes on where it was. ``--seconds`` stops it after so long. Every slice runs in a forked child, so
that nothing is imported twice, and a crash is a finding and not the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import fuzz  # noqa: E402
import kill  # noqa: E402

from bharnet_mm.io.atomic import write_json, write_text  # noqa: E402

#: Kills and cases of one slice.
KILLS, CASES = 20, 1000
ADDED = {'kills', 'runs', 'seconds', 'cases', 'read', 'refused', 'crashed', *kill.KINDS}


def table(rows: dict[str, dict]) -> str:
    """A Markdown table: one row a name, one column a value."""
    hidden = {'commits', 'failures'}
    columns = list(dict.fromkeys(k for row in rows.values() for k in row if k not in hidden))
    lines = [f'| | {" | ".join(columns)} | failures |', '|---' * (len(columns) + 2) + '|']
    for name, row in rows.items():
        cells = [str(row.get(key, '')) for key in columns]
        lines.append(f'| {name} | {" | ".join(cells)} | {len(row.get("failures", ()))} |')
    return '\n'.join(lines) + '\n'


def in_child(function: Callable[[], Any], seconds: float) -> Any:
    """What a function returns in a forked child; a failure as ``{'failure': text}``."""
    with tempfile.TemporaryDirectory() as folder:
        answer, log = Path(folder) / 'answer.json', open(Path(folder) / 'log', 'w+b')
        child = os.fork()
        if child == 0:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            os.environ['TMPDIR'] = folder
            tempfile.tempdir = folder
            try:
                found = function()
            except BaseException as error:
                import traceback

                found = {'failure': f'{type(error).__name__}: {error}'[-2000:]}
                found['where'] = traceback.format_exc()[-2000:]
            answer.write_text(json.dumps(found))
            os._exit(0)
        begun, late = time.monotonic(), False
        while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
            time.sleep(0.05)
            if not late and time.monotonic() - begun > seconds:
                late = True
                os.kill(child, signal.SIGKILL)
        if late:
            return {'failure': f'no end in {seconds:g} seconds'}
        if not answer.exists():
            log.seek(0)
            tail = log.read().decode(errors='replace')[-500:]
            return {'failure': f'the process died, status {done[1]}: {tail}'}
        return json.loads(answer.read_text())


def add(row: dict, found: dict, note: str) -> None:
    """Adds the counts of a slice to a row, or its failure."""
    if 'failure' in found:
        row.setdefault('failures', []).append({'slice': note} | found)
    for key, value in found.items():
        if key in ADDED:
            row[key] = round(row.get(key, 0) + value, 1)
        elif isinstance(value, (int, float)):
            row[key] = max(row.get(key, 0), value)
    commit = _commit()
    if commit not in row.setdefault('commits', []):
        row['commits'].append(commit)


def _commit() -> str:
    words = ['git', '-C', str(HERE), 'rev-parse', '--short', 'HEAD']
    return subprocess.run(words, capture_output=True, text=True).stdout.strip()


class Book:
    """What is done so far, on disk after every slice."""

    def __init__(self, folder: Path, sizes: dict[str, float]) -> None:
        self.folder, self.file = folder, folder / 'reliability.json'
        folder.mkdir(parents=True, exist_ok=True)
        self.content = {'kill': {}, 'fuzz': {}, 'soak': []}
        if self.file.exists():
            self.content = json.loads(self.file.read_text())
        self.content |= {'sizes': sizes, 'python': platform.python_version()}
        self.content |= {'torch': torch.__version__, 'system': platform.platform()}

    def row(self, part: str, name: str) -> dict:
        return self.content[part].setdefault(name, {})

    def save(self) -> None:
        write_json(self.file, self.content)
        page = ['# Reliability\n', f'## Kills\n\n{table(self.content["kill"])}']
        page.append(f'## Hostile input\n\n{table(self.content["fuzz"])}')
        rows = {str(i): row for i, row in enumerate(self.content['soak'])}
        page.append(f'## Soak\n\n{table(rows)}')
        write_text(self.folder / 'reliability.md', '\n'.join(page))


def slices(book: Book, args: argparse.Namespace) -> Iterator[tuple[str, str, Callable, str]]:
    """What is still to be done, in turn: (part, name, what does a slice of it, note)."""
    readers = fuzz.readers()
    parts = {
        'kill': {name: kill.share(name, args.kills) for name in kill.SUBJECTS},
        'fuzz': dict.fromkeys(readers, args.cases),
    }
    for part, wanted in parts.items():
        names = [name for name in wanted if not args.names or name in args.names]
        while part in args.only and names:
            for name in list(names):
                row = book.row(part, name)
                done = row.get('kills' if part == 'kill' else 'cases', 0)
                left = wanted[name] - done
                if left <= 0 or row.get('failures'):
                    names.remove(name)
                elif part == 'kill':
                    number = min(left, KILLS // 4 if name in kill.SLOW else KILLS)
                    work = partial(kill.kill, name, number, 1, done)
                    yield part, name, work, f'kill.kill({name!r}, {number}, 1, {done})'
                else:
                    number = min(left, CASES // 4 if readers[name].forked else CASES)
                    work = partial(fuzz.fuzz, name, readers[name], number, done)
                    yield part, name, work, f'fuzz.fuzz({name!r}, reader, {number}, {done})'


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=200, help='of training; half of most others')
    parser.add_argument('--cases', type=int, default=10_000, help='of each reader')
    parser.add_argument('--minutes', type=float, default=30, help='of the soak')
    parser.add_argument('--share', type=float, default=1.0, help='of a core that the soak takes')
    parser.add_argument('--seconds', type=float, default=float('inf'), help='stop after so long')
    parser.add_argument('--only', nargs='+', default=['kill', 'fuzz', 'soak'])
    parser.add_argument('--names', nargs='+', help='only these subjects and readers')
    parser.add_argument('--again', action='store_true', help='try again what failed before')
    parser.add_argument('--out', type=Path, default=Path('build/reliability'))
    args = parser.parse_args()
    torch.set_num_threads(1)
    sizes = {'kills': args.kills, 'cases': args.cases, 'soak_minutes': args.minutes}
    book, begun = Book(args.out, sizes), time.monotonic()
    if args.again:
        for part in ('kill', 'fuzz'):
            for row in book.content[part].values():
                row.setdefault('mended', []).extend(row.pop('failures', []))
    fsync = os.fsync
    for part, name, work, note in slices(book, args):
        if time.monotonic() - begun > args.seconds:
            sys.exit('stopped: run it again to go on')
        os.fsync = fsync if part == 'kill' else (lambda handle: None)  # fuzzing is not of the disk
        found = in_child(work, 600)
        add(book.row(part, name), found, note)
        print(part, name, json.dumps(book.row(part, name))[:300], flush=True)
        book.save()
    os.fsync = fsync
    if 'soak' in args.only and not book.content['soak']:
        file = args.out / 'soak.json'
        command = [HERE / 'soak.py', '--minutes', args.minutes, '--share', args.share]
        words = [sys.executable, '-W', 'ignore', *command, '--json', file]
        if subprocess.run([str(word) for word in words], check=False).returncode:
            book.content['soak_failed'] = True
        with contextlib.suppress(FileNotFoundError):
            book.content['soak'] = json.loads(file.read_text())
    book.save()
    failed = [
        f'{part} {name}'
        for part in ('kill', 'fuzz')
        for name, row in book.content[part].items()
        if row.get('failures')
    ]
    failed += ['soak'] * bool(book.content.get('soak_failed'))
    sys.exit(f'failed: {failed}' if failed else 0)


if __name__ == '__main__':
    main()
