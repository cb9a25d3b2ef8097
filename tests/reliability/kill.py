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

sys.path.insert(0, str(Path(__file__).parent))
from subjects import SLOW, SUBJECTS  # noqa: E402

from bharnet_mm.io import atomic  # noqa: E402

STEPS = ('fsync', 'replace', 'ftruncate', 'write', 'rename')
#: Of four kills two are at a step, one is inside the bytes of a file and one at a random moment.
KINDS = ('at a step', 'inside a write', 'at a step', 'at random')


def in_child(
    function: Callable[[], Any], arm: Callable[[], None] | float | None, together: bool = False
) -> bool:
    """Runs a function in a forked child; whether it came to its end (else it was killed).

    Args:
        function: Must not raise.
        arm: Called in the child before, to have it kill itself; or seconds until it is killed.
        together: Whether processes that it has started are killed with it.
    """
    log = tempfile.TemporaryFile()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setpgid(0, 0)
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
    with contextlib.suppress(ProcessLookupError):
        while together:
            os.killpg(child, signal.SIGKILL)
            time.sleep(0.001)
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


def inside_write(number: int, suffix: str = '') -> Callable[[], None]:
    """Has a process kill itself half-way through the bytes of its so-manyth write.

    That is a write of a whole file whose name ends in ``suffix``; without one, a write to the end
    of a store's file counts too.
    """

    def arm() -> None:
        left, real, append = itertools.count(number, -1), atomic._open_temporary, os.write
        next(left)

        def open_temporary(target: Path, *arguments: Any) -> Any:
            temporary, stream = real(target, *arguments)
            if target.name.endswith(suffix) and next(left) == 0:
                write = stream.write

                def half(data: Any) -> None:
                    write(data[: len(data) // 2])
                    stream.flush()
                    os.kill(os.getpid(), signal.SIGKILL)

                return temporary, _Half(stream, half)
            return temporary, stream

        def half_append(handle: int, data: Any) -> int:
            if len(data) > 64 and next(left) == 0:
                append(handle, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return append(handle, data)

        atomic._open_temporary = open_temporary
        if not suffix:
            os.write = half_append

    return arm


class _Half:
    def __init__(self, stream: Any, write: Callable) -> None:
        self.stream, self.write = stream, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def kill(name: str, kills: int, number: int = 0, already: int = 0) -> dict[str, Any]:
    """Kills a subject so many times; returns how, and how many runs came to their end.

    Args:
        name: Of a subject.
        kills: How many.
        number: Seed of the moments.
        already: Kills of earlier slices, so that kinds go on evenly.

    Raises:
        AssertionError: A torn file, a lost or doubled clip, a run that did not go on, another end.
    """
    draw = random.Random(f'{number} {already}')
    counts: dict[str, Any] = {'kills': 0} | dict.fromkeys(KINDS, 0)
    counts |= {'runs': 0, 'seconds': 0.0}
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subject = SUBJECTS[name](folder)
        in_child(lambda: subject.run(folder / 'whole'), None)
        subject.wanted = subject.content(folder / 'whole')
        begun = time.monotonic()
        in_child(lambda: subject.run(folder / 'timed'), None)
        usual = time.monotonic() - begun
        _same(subject, folder / 'timed')
        place = folder / 'run'
        reach, tries = 12, itertools.count(1)
        while counts['kills'] < kills:
            kind = KINDS[(already + counts['kills']) % len(KINDS)]
            if kind == 'at random':
                arm: Any = draw.uniform(0, usual)
            elif kind == 'at a step':
                arm = at_step(draw.randint(1, 12))
            else:
                # A run that is nearly at its end has few writes left.
                arm = inside_write(draw.randint(1, reach), subject.suffix)
            # A run that is killed early again and again would never end: one in five is let be.
            arm = None if next(tries) % 5 == 0 else arm
            ended = in_child(lambda: subject.run(place), arm, subject.together)
            if place.exists():
                subject.check(place)
            if not ended:
                counts['kills'] += 1
                counts[kind] += 1
                reach = 12
                continue
            reach = max(1, reach // 2)
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


def share(name: str, kills: int) -> int:
    """Kills of a subject where training has so many: half of them, a tenth of the slow ones."""
    return kills if name == 'training' else -(-kills // (10 if name in SLOW else 2))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=200, help='of training; half of most others')
    parser.add_argument('--subjects', nargs='+', default=list(SUBJECTS), choices=list(SUBJECTS))
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    results, failed = {}, False
    for name in args.subjects:
        try:
            results[name] = kill(name, share(name, args.kills), args.seed)
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
