"""Makes the synthetic sample and its videos, trains BHaRNet-M on it, tests the checkpoint and shows
the result.

What `make quickstart` runs after installing. It writes `data/sample`, `data/sample_videos`,
`data/sample_regions` and `work_dirs/quickstart`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bharnet_mm.io.atomic import write_json

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/bharnet_m_sample.py'
STORE, VIDEOS, REGIONS = 'data/sample', 'data/sample_videos', 'data/sample_regions'


def run(*command: str) -> int:
    """Runs a tool of this project with this Python from the project's root; stops if it fails.

    Returns:
        Seconds it took.
    """
    print('$ python', *command, flush=True)
    start = time.perf_counter()
    status = subprocess.run([sys.executable, *command], cwd=ROOT).returncode
    if status:
        sys.exit(f'quickstart stopped: {command[0]} failed with exit status {status}, see above.')
    seconds = round(time.perf_counter() - start)
    print(f'  {seconds} s', flush=True)
    return seconds


def last_checkpoint(work_dir: Path) -> Path:
    """The checkpoint that MMEngine wrote last."""
    note = work_dir / 'last_checkpoint'
    if not note.exists():
        sys.exit(f'quickstart stopped: training left no checkpoint in {work_dir}.')
    return Path(note.read_text().strip())


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], help='passed on to tools/train.py and tools/test.py'
    )
    args = parser.parse_args(argv)
    options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []
    work_dir = ROOT / 'work_dirs/quickstart'
    # All belong to the quickstart alone; what an earlier run left must not pass for this one's.
    for folder in (ROOT / STORE, ROOT / VIDEOS, ROOT / REGIONS, work_dir):
        shutil.rmtree(folder, ignore_errors=True)

    regions = (
        'tools/data/extract_regions.py',
        VIDEOS,
        STORE,
        REGIONS,
        '--cell',
        '24',
    )  # as in the config
    seconds = {
        'sample_and_videos': run('tools/data/sample.py', STORE, '--videos', VIDEOS),
        'regions': run(*regions),
        'train': run('tools/train.py', CONFIG, '--work-dir', 'work_dirs/quickstart', *options),
    }
    checkpoint = str(last_checkpoint(work_dir))
    dump = ['--dump', 'work_dirs/quickstart/scores.npz']
    test = ['tools/test.py', CONFIG, checkpoint, '--work-dir', 'work_dirs/quickstart']
    seconds['test'] = run(*test, *dump, *options)

    # Imported here: torch and MMAction2 take seconds, and the steps above tell of a failure sooner.
    from rich.console import Console

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
    Console().print(make_table(scores))
    print(f'Picture: {picture.relative_to(ROOT)}')


if __name__ == '__main__':
    main()
