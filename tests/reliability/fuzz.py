"""Hostile input for every reader: real formats, mutated by hypothesis.

A reader may read a case, or raise an error of ours. Anything else fails: a foreign exception, more
than ten seconds of the processor, a minute on the clock (a reader that waits for something), a
process or a connection, a file written outside the case's own folder.

``python tests/reliability/fuzz.py --cases 10000 --json FILE`` runs many cases of every reader.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from readers import Reader, readers  # noqa: E402

from bharnet_mm.errors import BHaRNetError  # noqa: E402

SECONDS = 10  # of the processor, which a busy machine does not lengthen
WAITING = 60  # seconds on the clock, for what waits and does not work
MEGABYTES = 1024
CASES_APART = 250  # of one process
BARE = 300  # of them has a process that has imported torch; the rest is for reading
EXTREMES = [0, 1, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1]
WORDS = [b'nan', b'-1', b'1e308', b'99999999999999999999', b'""', b'[', b'{', b'null', b'\xff\xfe']
VALUES = [
    None, True, -1, 0, 1.5, 10**6, 2**62, -(10**30), 1e308, float('nan'), float('inf'), '', 'x',
    'os.system', [], {}, [[]], [None],
    {'type': 'subprocess.call', 'args': 'true', 'shell': True}, 'a' * 10**5,
    [0] * 10**4,
]  # fmt: skip
Files = dict[str, bytes]


class Forbidden(BaseException):
    """What no reader may do; no guard of a reader can take it for a fault of the file."""


@st.composite
def mutated(draw: Callable, files: Files) -> Files:
    """The files with one of them changed in one to four places."""
    name = draw(st.sampled_from(sorted(files)))
    data = files[name]
    if data[:2] == b'PK' and draw(st.booleans()):
        return files | {name: draw(_within_archive(data))}
    return files | {name: draw(_changed(data))}


@st.composite
def _within_archive(draw: Callable, data: bytes) -> bytes:
    """Changes a member and packs it again, so that the archive's own checksum fits."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {entry: archive.read(entry) for entry in archive.namelist()}
    name = draw(st.sampled_from(sorted(members)))
    members[name] = draw(_changed(members[name]))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, 'w') as archive:
        for entry, content in members.items():
            archive.writestr(entry, content)
    return packed.getvalue()


@st.composite
def _other_json(draw: Callable, content: Any) -> Any:
    """JSON with one to three of its values replaced, removed or put under another name."""
    for _ in range(draw(st.integers(1, 3))):
        places, stack = [], [content]
        while stack:
            at = stack.pop()
            keys = list(at) if isinstance(at, dict) else range(len(at))
            places += [(at, key) for key in keys]
            stack += [at[key] for key in keys if isinstance(at[key], (dict, list))]
        if not places:
            return content
        at, key = draw(st.sampled_from(places[:2000]))
        if draw(st.booleans()):
            # A copy, which later changes leave alone and which cannot come to hold itself.
            at[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif isinstance(at, dict) and draw(st.booleans()):
            at[draw(st.sampled_from(['type', '', 'x', 'name']))] = at.pop(key)
        else:
            del at[key]
    return content


@st.composite
def _changed(draw: Callable, data: bytes) -> bytes:
    if data[:1] in (b'{', b'[') and draw(st.booleans()):
        with contextlib.suppress(ValueError):
            return json.dumps(draw(_other_json(json.loads(data)))).encode()
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        # Headers are short and say most: every other change is among the first bytes.
        reach = len(changed) if draw(st.booleans()) else min(len(changed), 160)
        at = draw(st.integers(0, max(0, reach - 1)))
        kind = draw(st.sampled_from(['bits', 'number', 'word', 'cut', 'drop', 'twice', 'noise']))
        if kind == 'bits' and changed:
            changed[at] ^= draw(st.integers(1, 255))
        elif kind == 'number':
            size = draw(st.sampled_from([1, 2, 4, 8]))
            value = draw(st.sampled_from(EXTREMES)) % 2 ** (8 * size)
            order = draw(st.sampled_from(['little', 'big']))
            changed[at : at + size] = value.to_bytes(size, order)
        elif kind == 'word':
            changed[at : at + draw(st.integers(0, 8))] = draw(st.sampled_from(WORDS))
        elif kind == 'cut':
            del changed[at:]
        elif kind == 'drop':
            del changed[at : at + draw(st.integers(1, 64))]
        elif kind == 'twice':
            part = changed[at : at + draw(st.integers(1, 64))]
            changed[at:at] = part * draw(st.integers(1, 50))
        else:
            changed[at:at] = draw(st.binary(min_size=1, max_size=16))
    return bytes(changed)


class _Watch:
    """What no reader may do, noticed by the interpreter's own audit events."""

    def __init__(self) -> None:
        self.inside: str | None = None
        sys.addaudithook(self._event)

    def _event(self, name: str, arguments: tuple) -> None:
        if self.inside is None:
            return
        if name in ('os.system', 'subprocess.Popen', 'os.exec', 'os.posix_spawn', 'socket.connect'):
            raise Forbidden(f'{name}{arguments}')
        if name == 'open' and isinstance(arguments[0], (str, bytes)):
            path, writes = os.path.realpath(os.fsdecode(arguments[0])), arguments[2]
            flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
            allowed = path.startswith((self.inside, '/dev/null', '/proc'))
            if isinstance(writes, int) and writes & flags and not allowed:
                raise Forbidden(f'a file written at {path}')


_WATCH: list[_Watch] = []


@contextlib.contextmanager
def _limits(folder: Path) -> Iterator[None]:
    def late(number: int, _: object) -> None:
        if number == signal.SIGPROF:
            raise Forbidden(f'no answer in {SECONDS} seconds of the processor')
        raise Forbidden(f'no answer in {WAITING} seconds')

    if not _WATCH:
        _WATCH.append(_Watch())
    before = [(number, signal.signal(number, late)) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAITING)
    _WATCH[0].inside = os.path.realpath(folder)
    try:
        yield
    finally:
        _WATCH[0].inside = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in before:
            signal.signal(number, handler)


def fuzz(name: str, reader: Reader, cases: int, number: int = 0) -> dict[str, float]:
    """Runs mutated cases of a reader; returns counts, the slowest case in seconds of the processor,
    and the memory's peak.

    Raises:
        Forbidden: Or whatever else a case raised that is not an error of ours.
    """
    torch.set_num_threads(1)  # threads that are gone in a forked child would be waited for
    counts = {'cases': 0, 'read': 0, 'refused': 0, 'slowest': 0.0}
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = [held]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = reader.make(folder)
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted([made, *made.rglob('*')])
            if path.is_file() and path.name != 'writer.lock'
        }

        apart = _Apart(reader.read, made, folder)

        @seed(number)
        @settings(
            max_examples=cases,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(mutated(files))
        def run(case: Files) -> None:
            shutil.rmtree(folder)
            for place, data in case.items():
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                (folder / place).write_bytes(data)
            start = time.process_time()
            counts['cases'] += 1
            try:
                if reader.forked:
                    apart()
                else:
                    with _limits(folder):
                        reader.read(made)
                counts['read'] += 1
            except BHaRNetError:
                counts['refused'] += 1
            took = apart.seconds if reader.forked else time.process_time() - start
            counts['slowest'] = max(counts['slowest'], round(took, 3))

        try:
            run()
        finally:
            apart.end()
    memory += [apart.memory, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
    counts['peak_mb'] = max(memory) // 1024
    added = counts['peak_mb'] - held // 1024
    if added > MEGABYTES - BARE:
        raise Forbidden(f'{added} MB of memory more than before')
    return counts


def _spent(process: int) -> float:
    """Seconds of the processor that a process has taken."""
    times = psutil.Process(process).cpu_times()
    return times.user + times.system


class _Apart:
    """Reads cases in a forked process, which a crash or a hang ends, and which is then replaced.

    It is replaced after ``CASES_APART`` cases too, so that what a library keeps of each does not
    count as the memory of one.
    """

    def __init__(self, read: Callable[[Path], object], made: Path, folder: Path) -> None:
        self.read, self.made, self.folder = read, made, folder
        self.child, self.done = 0, 0
        #: Peak of the processes' memory in KB, and the processor's time of the last case.
        self.memory, self.seconds = 0, 0.0

    def __call__(self) -> None:
        """Reads what lies in the folder.

        Raises:
            BHaRNetError: The reader refused the file.
            Forbidden: Anything else: a crash, no end, another exception.
        """
        if self.child and self.done % CASES_APART == 0:
            self.end()
        if not self.child:
            self._start()
        self.done += 1
        os.write(self.ask, b'?')
        # More time than _limits gives, as a signal is only heard between two steps of Python.
        begun, spent = time.monotonic(), _spent(self.child)
        while not select.select([self.answers], [], [], 1)[0]:
            if _spent(self.child) - spent > SECONDS + 2 or time.monotonic() - begun > WAITING + 2:
                os.kill(self.child, signal.SIGKILL)
                break
        line = self.answers.readline()
        if not line:
            status = self.end()
            if os.WIFSIGNALED(status):
                raise Forbidden(f'the process died by {signal.Signals(os.WTERMSIG(status)).name}')
            raise Forbidden(f'the process ended with {os.WEXITSTATUS(status)}')
        answer = json.loads(line)
        self.memory, self.seconds = max(self.memory, answer['memory']), answer['seconds']
        if answer['refused']:
            raise BHaRNetError('refused')
        if answer['foreign']:
            raise Forbidden(answer['foreign'])

    def _start(self) -> None:
        question, self.ask = os.pipe()
        answers, tell = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            os.close(self.ask)
            os.close(answers)
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            while os.read(question, 1):
                os.write(tell, self._case())
            os._exit(0)
        os.close(question)
        os.close(tell)
        self.answers = os.fdopen(answers)

    def _case(self) -> bytes:
        answer, start = {'refused': False, 'foreign': ''}, time.process_time()
        try:
            with _limits(self.folder):
                self.read(self.made)
        except BHaRNetError:
            answer['refused'] = True
        except BaseException as error:
            answer['foreign'] = f'{type(error).__name__}: {error}'[:500]
        answer['seconds'] = time.process_time() - start
        answer['memory'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return json.dumps(answer).encode() + b'\n'

    def end(self) -> int:
        """Ends the process; returns its status."""
        if not self.child:
            return 0
        os.close(self.ask)
        self.answers.close()
        status = os.waitpid(self.child, 0)[1]
        self.child = 0
        return status


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cases', type=int, default=10_000)
    parser.add_argument('--readers', nargs='+')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    os.fsync = lambda handle: None  # not a test of the disk
    results, failed = {}, False
    for name, reader in readers().items():
        if args.readers and name not in args.readers:
            continue
        try:
            results[name] = fuzz(name, reader, args.cases, args.seed)
        except (Exception, SystemExit, Forbidden) as error:
            failed = True
            results[name] = {'failure': f'{type(error).__name__}: {error}'[:500]}
        print(name, results[name], flush=True)
    if args.json:
        from bharnet_mm.io.atomic import write_json

        write_json(args.json, results)
    sys.exit(failed)


if __name__ == '__main__':
    main()
