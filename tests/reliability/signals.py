"""Sends SIGTERM and SIGINT to whole commands, as a user or a batch system does, and looks at what
is left: the status, one line and no traceback, no process, no lock, no temporary file.

``python tests/reliability/signals.py --times 20`` sends each at random moments.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

TESTS = Path(__file__).resolve().parents[1]
for place in ('reliability', 'datasets/extraction', '.'):
    sys.path.insert(0, str(TESTS / place))
import formats  # noqa: E402
from command import ROOT, environment  # noqa: E402
from fake_estimator import BACKEND, moving, write_video  # noqa: E402
from tiny_sample import write_tiny_sample  # noqa: E402

PYTHON = [sys.executable, '-W', 'ignore']
MODEL = 'bharnet_light_asl10'


class TooLate(Exception):
    """The command had ended before the signal."""


def bharnet(*words: object) -> list[str]:
    return [*PYTHON, '-m', 'bharnet_mm', *map(str, words)]


def tool(name: str, *words: object) -> list[str]:
    return [*PYTHON, f'tools/{name}', *map(str, words)]


def commands(folder: Path) -> dict[str, tuple[Callable[[Path], Sequence[str]], str]]:
    """Name to its command line, given a folder for its output, and a pattern of the files whose
    appearance there shows that it is at work.
    """
    config = write_tiny_sample(folder, epochs=40)
    source = folder / 'ntu'
    for i in range(160):
        formats.write_ntu(source / str(i), 60)
        for file in list((source / str(i)).iterdir()):  # clip ids are unique in a source
            place = f'C{1 + i % 3:03d}P{1 + i % 80:03d}R{1 + i // 80:03d}'
            name = f'{file.stem[:4]}{place}{file.stem[16:]}'
            file.rename(source / f'{name}.skeleton')
        (source / str(i)).rmdir()
    for i in range(6):
        write_video(folder / f'videos/a/{i}.avi', moving(600, seed=i))
    video = folder / 'videos/a/0.avi'
    shared = os.environ.get('BHARNET_VIDEOS', ROOT.parent / 'shared/data/videos')
    real = Path(shared) / 'book.mkv'

    def predict(out: Path) -> list[str]:
        return bharnet('predict', real, '--out', out / 'a.mp4')

    return {
        'train': (lambda out: tool('train.py', config, '--work-dir', out), '*.pth'),
        'convert': (lambda out: tool('data/ntu.py', source, out, '--workers', 2), 'body.bin'),
        'extract': (
            lambda out: bharnet(
                'extract', folder / 'videos', out, '--backend', BACKEND, '--workers', 2
            ),
            'body.bin',
        ),
        'render': (
            lambda out: tool('data/sample.py', out, '--videos', out / 'v', '--workers', 2),
            'v',
        ),
        # With MediaPipe, since the shipped model knows only its joints.
        **({'predict': (predict, '.a.mp4*')} if real.exists() else {}),
        'live': (
            lambda out: bharnet(
                'live', video, '--loop', '--no-display', '--backend', BACKEND,
                '--out', out / 'a.mp4',
            ),
            '.a.mp4*',
        ),
        'compare': (
            lambda out: tool(
                'analysis/compare.py', config, '--out', out, '--field', 'camera', '--folds', 1, 2,
                '--jobs', 2,
            ),
            '*/*/*.pth',
        ),
    }  # fmt: skip


def send(words: Sequence[str], out: Path, number: int, sign: str, later: float = 0.0) -> str:
    """Starts a command, sends it a signal and returns what it printed.

    Args:
        words: The command.
        out: Its output.
        number: The signal. SIGINT goes to the whole group, as a terminal sends it.
        sign: Pattern of files in ``out`` that are waited for before.
        later: Seconds to wait then.

    Raises:
        TooLate: The command ended before.
        AssertionError: Another status than 128 and the signal, a traceback, a process that lives
            on, or a temporary file.
    """
    # In the background of a shell SIGINT is ignored, under nohup SIGHUP; children inherit that.
    for one, handler in ((signal.SIGINT, signal.default_int_handler), (number, signal.SIG_DFL)):
        if signal.getsignal(one) is signal.SIG_IGN:
            signal.signal(one, handler)
    places = [ROOT, ROOT / 'tests', ROOT / 'tests/datasets/extraction']
    with tempfile.TemporaryFile('w+') as log:
        started = subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment(PYTHONPATH=os.pathsep.join(map(str, places))),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        until = time.monotonic() + 120
        while not list(out.glob(sign)) and started.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(later)
        if started.poll() is not None:
            raise TooLate
        children = psutil.Process(started.pid).children(recursive=True)
        if number == signal.SIGINT:
            os.killpg(started.pid, number)
        else:
            started.send_signal(number)
        try:
            status = started.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            raise
        log.seek(0)
        printed = log.read()
    assert status == 128 + number, f'status {status}:\n{printed[-3000:]}'
    assert 'Traceback' not in printed, printed[-5000:]
    last = printed.strip().splitlines()[-1]
    said = 'interrupted' if number == signal.SIGINT else f'ended by {signal.Signals(number).name}'
    assert said in last, printed[-2000:]
    _, alive = psutil.wait_procs(children, timeout=10)
    alive = [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    assert not alive, f'{alive} live on'
    return printed


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--times', type=int, default=10, help='signals to each command')
    parser.add_argument('--names', nargs='+')
    parser.add_argument('--seconds', type=float, default=4.0, help='the moments lie within them')
    args = parser.parse_args()
    draw = random.Random(0)
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, (words, sign) in commands(folder).items():
            if args.names and name not in args.names:
                continue
            wrong, late = [], 0
            for i in range(args.times):
                out = folder / f'{name}{i}'
                if name in ('predict', 'live'):
                    out.mkdir()
                number = (signal.SIGINT, signal.SIGTERM)[i % 2]
                try:
                    send(words(out), out, number, sign, draw.uniform(0, args.seconds))
                except TooLate:
                    late += 1
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    wrong.append(str(error))
            failed += len(wrong)
            print(f'{name}: {args.times - late} signals, {len(wrong)} failures', *wrong, flush=True)
    sys.exit(bool(failed))


if __name__ == '__main__':
    main()
