"""SIGTERM and Ctrl-C: ``python tests/reliability/signals.py`` sends them at random moments."""

import signal
import subprocess
import sys

import pytest
from command import environment
from signals import PYTHON, commands, send

from bharnet_mm.io.lock import FolderLock

SLEEPER = """
import multiprocessing, sys, time
from pathlib import Path
from bharnet_mm.io.atomic import atomic_write
from bharnet_mm.io.command import run_command
from bharnet_mm.io.process import worker_pool

def command():
    with atomic_write(sys.argv[1] + '/a') as stream, worker_pool(2) as pool:
        stream.write('half')
        waiting = [pool.submit(time.sleep, 100) for _ in range(9)]
        if sys.argv[2] == 'wrapped':
            try:
                waiting[0].result()
            except:
                raise SyntaxError('as MMEngine does')
        waiting[0].result()

run_command(command, debug=False)
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize('way', ['plain', 'wrapped'])
def test_a_command_ends_in_order(tmp_path, number, way):
    """Its status, one line, its temporary file gone and its processes too."""
    script = tmp_path / 'sleeper.py'
    script.write_text(SLEEPER)
    out = tmp_path / 'out'
    out.mkdir()
    said = send([*PYTHON, str(script), str(out), way], out, number, '.a*', 0.2)
    assert said.count('\n') == 1 and list(out.iterdir()) == []


def test_what_nohup_ignores_stays_ignored(tmp_path):
    code = (
        'import os, signal\n'
        'from bharnet_mm.io.command import run_command\n'
        'run_command(lambda: os.kill(os.getpid(), signal.SIGHUP))'
    )
    words = ['nohup', sys.executable, '-c', code]
    assert subprocess.run(words, env=environment(), capture_output=True).returncode == 0


@pytest.mark.long
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_whole_commands(tmp_path, number):
    for name, (words, sign) in commands(tmp_path).items():
        out = tmp_path / name
        if name in ('predict', 'live'):
            out.mkdir()
        # Drawing a video takes a second only.
        send(words(out), out, number, sign, 0.05 if name == 'predict' else 0.3)
        left = [str(path) for path in out.rglob('*.partial')] if name in ('predict', 'live') else []
        assert not left, name
        for lock in out.rglob('*lock'):
            FolderLock(lock).release()  # nobody holds it
