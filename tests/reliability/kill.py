"""Kills writers at every step and at random moments, and looks at what they leave.

Each subject runs in forked children that are killed: at a chosen call that makes something durable
(``fsync``, ``replace``, ``truncate``, a write to a store), in the middle of the bytes of a file, or
at a random moment. After every kill all files are looked at; then the next child goes on with what
is there. Once one comes to its end, the result must be byte for byte, or weight for weight, that of
a run that was never killed.

``python tests/reliability/kill.py --kills 200 --json FILE``
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

TESTS = Path(__file__).resolve().parents[1]
for place in ('reliability', 'engine', 'datasets/extraction', '.'):
    sys.path.insert(0, str(TESTS / place))
import formats  # noqa: E402
from toy_training import EPOCHS, make_runner  # noqa: E402

from bharnet_mm.datasets import ClipStore  # noqa: E402
from bharnet_mm.engine.resume import newest_checkpoint  # noqa: E402
from bharnet_mm.io import atomic  # noqa: E402

STEPS = ('fsync', 'replace', 'ftruncate', 'write', 'rename')


class Training:
    """A training with validation, best checkpoints and all hooks, resumed by ``--resume``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count()
        in_child(lambda: self.run(folder / 'whole'), None)
        self.wanted = self.content(folder / 'whole')

    def run(self, place: Path) -> None:
        found = newest_checkpoint(place) if place.exists() else None
        name = f'kill{os.getpid()}-{next(self.numbers)}'
        make_runner(place, name, resume=found, log_level='ERROR').train()

    def check(self, place: Path) -> None:
        for path in place.glob('*.pth'):
            torch.load(path, weights_only=True)  # a torn one raises

    def content(self, place: Path) -> dict[str, Any]:
        found = {}
        for path in sorted(place.glob('*.pth')):
            state = torch.load(path, weights_only=True)['state_dict']
            found[path.name] = {name: value.tolist() for name, value in state.items()}
        assert f'epoch_{EPOCHS}.pth' in found
        return found


class Conversion:
    """A converter, continued with ``--resume``; commits often, as over many clips."""

    def __init__(self, folder: Path, tool: str, make: Callable[[Path], Path]) -> None:
        path = TESTS.parent / f'tools/data/{tool}.py'
        spec = importlib.util.spec_from_file_location(f'kill_{tool}', path)
        self.tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.tool)
        self.name, self.source = tool, make(folder / 'source')
        in_child(lambda: self.run(folder / 'whole'), None)
        self.wanted = self.content(folder / 'whole')

    def run(self, place: Path) -> None:
        from bharnet_mm.datasets import ingest

        ingest._COMMIT_EVERY = 1
        resume = ['--resume'] if place.exists() else []
        self.tool.command([*formats.arguments(self.name, self.source, place), *resume])

    def check(self, place: Path) -> None:
        if (place / 'store.json').exists():
            store = ClipStore(place)
            ids = store.clip_ids.tolist()
            assert len(set(ids)) == len(ids), 'a clip twice'
            assert store.verify() == [], 'a damaged clip'

    def content(self, place: Path) -> dict[str, bytes]:
        return {
            path.name: path.read_bytes()
            for path in sorted(place.iterdir())
            if path.name != 'writer.lock'
        }


class Extraction(Conversion):
    """Hands and bodies from videos, by an estimator that needs no model."""

    def __init__(self, folder: Path) -> None:
        from fake_estimator import moving, write_video

        for i, name in enumerate(['tea/S1_a', 'tea/S2_a', 'book/S1_a', 'book/S2_a', 'milk/S3_a']):
            write_video(folder / f'videos/{name}.avi', moving(4 + i, seed=i))
        self.source = folder / 'videos'
        in_child(lambda: self.run(folder / 'whole'), None)
        self.wanted = self.content(folder / 'whole')

    def run(self, place: Path) -> None:
        from fake_estimator import BACKEND

        from bharnet_mm.datasets.extraction.output import Settings
        from bharnet_mm.datasets.extraction.runner import extract

        extract(self.source, place, Settings(backend=BACKEND), workers=0)


class Shards(Extraction):
    """Two shards of an extraction at once, which are killed together, and then merged."""

    def run(self, place: Path) -> None:
        from fake_estimator import BACKEND

        from bharnet_mm.datasets.extraction.output import Settings, merge
        from bharnet_mm.datasets.extraction.runner import extract

        settings = Settings(backend=BACKEND)
        other = os.fork()  # has inherited what is to kill it at its own so-manyth step
        extract(self.source, place, settings, workers=0, shard=(1 if other else 2, 2))
        if not other:
            os._exit(0)
        status = os.waitpid(other, 0)[1]
        if os.WIFSIGNALED(status):
            os.kill(os.getpid(), signal.SIGKILL)
        assert status == 0, 'the second shard failed'
        merge(self.source, place)

    def content(self, place: Path) -> dict[str, bytes]:
        files = [path for path in sorted(place.glob('*.*')) if path.name != 'writer.lock']
        return {path.name: path.read_bytes() for path in files}


SUBJECTS: dict[str, Callable[[Path], Any]] = {
    'training': Training,
    'ntu': lambda folder: Conversion(folder, 'ntu', formats.write_ntu),
    'nucla': lambda folder: Conversion(folder, 'nucla', formats.write_nucla),
    'pku_mmd': lambda folder: Conversion(folder, 'pku_mmd', formats.write_pku),
    'pyskl': lambda folder: Conversion(
        folder, 'pyskl', lambda source: formats.write_pyskl(source / 'a.pkl')
    ),
    'holistic': lambda folder: Conversion(folder, 'holistic', formats.write_holistic),
    'keypoints': lambda folder: Conversion(folder, 'keypoints', formats.write_openpose),
    'extraction': Extraction,
    'shards': Shards,
}


def in_child(function: Callable[[], Any], arm: Callable[[], None] | float | None) -> bool:
    """Runs a function in a forked child; whether it came to its end (else it was killed).

    Args:
        function: Must not raise.
        arm: Called in the child before, to have it kill itself; or seconds until it is killed.
    """
    log = tempfile.TemporaryFile()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            if callable(arm):
                arm()
            function()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    if isinstance(arm, float):
        time.sleep(arm)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        log.seek(0)
        raise AssertionError('the run failed:\n' + log.read().decode(errors='replace')[-3000:])
    return not os.WIFSIGNALED(status)


def at_step(number: int) -> Callable[[], None]:
    """Has a process kill itself right before its so-manyth durable step."""

    def arm() -> None:
        left = itertools.count(number, -1)
        next(left)
        for name in STEPS:
            real = getattr(os, name)

            def step(*arguments: Any, _real: Callable = real, **options: Any) -> Any:
                if next(left) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return _real(*arguments, **options)

            setattr(os, name, step)

    return arm


def inside_write(number: int) -> Callable[[], None]:
    """Has a process kill itself half-way through the bytes of its so-manyth whole file."""

    def arm() -> None:
        left, real = itertools.count(number, -1), atomic._open_temporary
        next(left)

        def open_temporary(*arguments: Any) -> Any:
            temporary, stream = real(*arguments)
            if next(left) == 0:
                write = stream.write

                def half(data: Any) -> None:
                    write(data[: len(data) // 2])
                    stream.flush()
                    os.kill(os.getpid(), signal.SIGKILL)

                return temporary, _Half(stream, half)
            return temporary, stream

        atomic._open_temporary = open_temporary

    return arm


class _Half:
    def __init__(self, stream: Any, write: Callable) -> None:
        self.stream, self.write = stream, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def kill(name: str, kills: int, number: int = 0) -> dict[str, Any]:
    """Kills a subject so many times; returns how, and how many runs came to their end.

    Raises:
        AssertionError: A torn file, a lost or doubled clip, a run that did not go on, another end.
    """
    draw = random.Random(number)
    counts: dict[str, Any] = {'kills': 0, 'at a step': 0, 'inside a write': 0, 'at random': 0}
    counts |= {'runs': 0, 'seconds': 0.0}
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subject = SUBJECTS[name](folder)
        begun = time.monotonic()
        in_child(lambda: subject.run(folder / 'timed'), None)
        usual = time.monotonic() - begun
        place = folder / 'run'
        tries = itertools.count(1)
        while counts['kills'] < kills:
            kind = draw.choices(['at a step', 'inside a write', 'at random'], [2, 1, 1])[0]
            if kind == 'at random':
                arm: Any = draw.uniform(0, usual)
            else:
                arm = (at_step if kind == 'at a step' else inside_write)(draw.randint(1, 12))
            # A run that is killed early again and again would never end: every third one is let be.
            ended = in_child(lambda: subject.run(place), None if next(tries) % 4 == 0 else arm)
            if place.exists():
                subject.check(place)
            if not ended:
                counts['kills'] += 1
                counts[kind] += 1
                continue
            _same(subject, place)
            counts['runs'] += 1
            shutil.rmtree(place)
        if place.exists():
            in_child(lambda: subject.run(place), None)
            _same(subject, place)
            counts['runs'] += 1
    counts['seconds'] = round(time.monotonic() - start, 1)
    return counts


def _same(subject: Any, place: Path) -> None:
    found = subject.content(place)
    assert found.keys() == subject.wanted.keys(), f'{sorted(found)}, not {sorted(subject.wanted)}'
    other = [name for name in found if found[name] != subject.wanted[name]]
    assert not other, f'{other} differ from an unbroken run'
    left = [path.name for path in place.rglob('*.partial')]
    assert not left, f'left over: {left}'


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=200, help='of training; half of each other')
    parser.add_argument('--subjects', nargs='+', default=list(SUBJECTS), choices=list(SUBJECTS))
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    results, failed = {}, False
    for name in args.subjects:
        kills = args.kills if name == 'training' else (args.kills + 1) // 2
        try:
            results[name] = kill(name, kills, args.seed)
        except Exception as error:
            failed = True
            results[name] = {'failure': f'{type(error).__name__}: {error}'[-2000:]}
        print(name, json.dumps(results[name]), flush=True)
    if args.json:
        atomic.write_json(args.json, results)
    sys.exit(failed)


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt):
        main()
