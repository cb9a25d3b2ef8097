"""Running the project's command-line tools as a user does."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def environment(**variables: str) -> dict[str, str]:
    """This process's, with this Python first and the package importable, installed or not."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')])
    values = os.environ | variables
    places = os.pathsep.join(filter(None, [str(ROOT), values.get('PYTHONPATH')]))
    return values | {'PATH': path, 'PYTHONPATH': places, 'OMP_NUM_THREADS': '1'}


def run(*command, status: int = 0, cwd: Path = ROOT, **variables: str) -> str:
    """Runs a command, by default in the project's root, and returns all that it printed.

    Any exit status but the expected one is a failure.
    """
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == status, done.stdout[-5000:]
    return done.stdout


def run_tool(name: str, *arguments, status: int = 0, **variables: str) -> str:
    """Runs ``python tools/<name> ...``."""
    return run(
        sys.executable, '-W', 'ignore', f'tools/{name}', *arguments, status=status, **variables
    )


def scalars(work_dir: Path) -> list[dict]:
    """What all runs of a work dir logged for the curves, in the order of writing."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
