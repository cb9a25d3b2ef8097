"""Makes the synthetic sample and its videos, trains BHaRNet-M on it, tests it and shows the result.

What `make quickstart` runs after installing. It writes `data/sample`, `data/sample_videos`,
`data/sample_regions` and `work_dirs/quickstart`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bharnet_mm.io.atomic import write_json
from bharnet_mm.io.command import run_command
from bharnet_mm.layouts import REGION_PARTS

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/bharnet_m_sample.py'
STORE, VIDEOS, REGIONS = 'data/sample', 'data/sample_videos', 'data/sample_regions'
WORK_DIR = 'work_dirs/quickstart'
OUTPUT = f'{WORK_DIR}/output.txt'
SHOWN = 15  # lines of a command that failed


def lines_of(command: Sequence[str]) -> Iterator[str]:
    """Runs a tool with this Python from the project's root; gives its lines, keeps them in OUTPUT.

    Stops the program, with the last lines, if the tool fails.
    """
    last: list[str] = []
    process = subprocess.Popen(
        [sys.executable, '-u', *command],
        cwd=ROOT,
        # Threads that share busy cores lose their time waiting for one another: at a load of 10 on
        # two cores an epoch took more than 9 minutes with two threads, and 12 s with one.
        env={'OMP_NUM_THREADS': '1', **os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process, open(ROOT / OUTPUT, 'a', encoding='utf-8') as output:
        output.write(f'$ python {" ".join(command)}\n')
        try:
            for line in process.stdout:
                output.write(line)
                last = [*last, line.rstrip()][-SHOWN:]
                yield last[-1]
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        print('\n'.join(last))
        sys.exit(f'quickstart stopped: {command[0]} failed with exit status {process.returncode}.')


def run(console: Console, number: int, what: str, *command: str) -> int:
    """Runs one step, with a bar on a terminal while it lasts.

    Returns:
        Seconds it took.
    """
    console.print(f'{number}/4 {what}')
    start = time.perf_counter()
    columns = (BarColumn(), TextColumn('{task.description}'), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        # A step without progress has a bar that moves back and forth.
        task = progress.add_task('', total=None)
        for line in lines_of(command):
            if done := re.match(r'epoch +(\d+)/(\d+)', line):
                text = re.sub(r'  loss [\d.]+|  \d+:.*', '', line)  # the bar has its own clock
                progress.update(task, completed=int(done[1]), total=int(done[2]), description=text)
    seconds = round(time.perf_counter() - start)
    console.print(f'    python {" ".join(command)}: {seconds} s', soft_wrap=True)
    return seconds


def last_checkpoint(work_dir: Path) -> Path:
    """The checkpoint that MMEngine wrote last."""
    note = work_dir / 'last_checkpoint'
    if not note.exists():
        sys.exit(f'quickstart stopped: training left no checkpoint in {work_dir}.')
    return Path(note.read_text().strip()).relative_to(ROOT)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], help='passed on to tools/train.py and tools/test.py'
    )
    args = parser.parse_args(argv)
    options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []
    work_dir = ROOT / WORK_DIR
    # These files belong to the quickstart only. Results of an earlier run are removed.
    for folder in (ROOT / STORE, ROOT / VIDEOS, ROOT / REGIONS, work_dir):
        shutil.rmtree(folder, ignore_errors=True)
    work_dir.mkdir(parents=True)

    console = Console(highlight=False)
    console.print('BHaRNet-M on a synthetic sample, in four steps, in a few minutes.')
    console.print(f'All output of the commands is kept in {OUTPUT}.')
    sample = ('tools/data/sample.py', STORE, '--videos', VIDEOS)
    # Only what the config reads: five parts in small cells, without motion.
    grid = ('--cell', '24', '--no-motion', '--parts', *REGION_PARTS)
    regions = ('tools/data/extract_regions.py', VIDEOS, STORE, REGIONS, *grid)
    train = ('tools/train.py', CONFIG, '--work-dir', WORK_DIR, *options)
    seconds = {
        'sample_and_videos': run(console, 1, 'Makes clips and renders their videos', *sample),
        'regions': run(console, 2, 'Cuts regions around the joints from the videos', *regions),
        'train': run(console, 3, 'Trains body, hand and rgb experts', *train),
    }
    checkpoint = str(last_checkpoint(work_dir))
    test = ('tools/test.py', CONFIG, checkpoint, '--work-dir', WORK_DIR)
    dump = ('--dump', f'{WORK_DIR}/scores.npz')
    seconds['test'] = run(console, 4, 'Tests the last checkpoint', *test, *dump, *options)

    # Imported here: NumPy and Matplotlib take time, and the first step should begin at once.
    from bharnet_mm.apis.sample_report import ceilings, correct, draw_report, make_table
    from bharnet_mm.apis.training_curve import read_training_curve
    from bharnet_mm.datasets import ClipStore
    from bharnet_mm.evaluation.scores import load_scores

    scores = load_scores(work_dir / 'scores.npz')
    picture = work_dir / 'quickstart.png'
    draw_report(picture, scores, read_training_curve(work_dir), ClipStore(ROOT / STORE))
    result = {
        'config': CONFIG,
        'cfg_options': args.cfg_options,
        'test_clips': len(scores),
        'top1': {name: round(float(correct(scores, name).mean()), 4) for name in ceilings(scores)},
        'ceiling': ceilings(scores),
        'seconds': seconds,
    }
    write_json(work_dir / 'result.json', result)
    console.print(make_table(scores))
    console.print(f'Picture: {picture.relative_to(ROOT)}')


if __name__ == '__main__':
    run_command(main)
