"""Hostile input for every reader: real formats, mutated by hypothesis.

A reader may read a case, or raise an error of ours. Anything else fails: a foreign exception, more
than ten seconds, a process or a connection, a file written outside the case's own folder.

``python tests/reliability/fuzz.py --cases 10000 --json FILE`` runs many cases of every reader.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import formats  # noqa: E402

from bharnet_mm.datasets import ClipStore  # noqa: E402
from bharnet_mm.datasets.store.regions import RegionStore  # noqa: E402
from bharnet_mm.errors import BHaRNetError  # noqa: E402
from bharnet_mm.evaluation.foreign_scores import read_scores  # noqa: E402
from bharnet_mm.evaluation.scores import save_scores  # noqa: E402
from bharnet_mm.io.safe_pickle import load_pickle  # noqa: E402
from bharnet_mm.io.weights import load_weights  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10
EXTREMES = [0, 1, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1]
WORDS = [b'nan', b'-1', b'1e308', b'99999999999999999999', b'""', b'[', b'{', b'null', b'\xff\xfe']
Files = dict[str, bytes]
_TOOLS = ('ntu', 'nucla', 'pku_mmd', 'pyskl', 'holistic', 'keypoints')


class Forbidden(BaseException):
    """What no reader may do; no guard of a reader can take it for a fault of the file."""


class Reader(NamedTuple):
    """What is fuzzed: how its files are made, and how a folder with them is read.

    ``forked`` readers hand the file to a library in C, which may crash or hang where no signal is
    heard: each case has a process of its own.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    forked: bool = False


def tool(name: str) -> Callable[[Path], object]:
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / f'tools/data/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def read(source: Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            module.command(formats.arguments(name, source, source.parent / 'out'))

    return read


def read_store(folder: Path) -> None:
    store = ClipStore(folder)
    list(store.clip_ids)
    for split in [None, *store.splits]:
        with contextlib.suppress(BHaRNetError):
            store.select(split)
    for i in range(len(store)):
        with contextlib.suppress(BHaRNetError):
            store[i].validate(store.body_layout, store.hand_layout, len(store.classes))
    store.verify()


def read_region_store(folder: Path) -> None:
    store = RegionStore(folder)
    for clip_id in store.clip_ids:
        with contextlib.suppress(BHaRNetError):
            store.read(clip_id, 1)
    store.verify()


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _make_scores(path: Path) -> Path:
    logits = {'body': np.random.default_rng(0).normal(size=(4, 3))}
    save_scores(path, list('abcd'), [0, 1, 2, 0], logits, ['x', 'y', 'z'])
    return path


def _make_dump(path: Path) -> Path:
    import pickle

    rows = [
        dict(pred_score=torch.rand(3), gt_label=torch.tensor([i % 3]), frame_dir=f'clip{i}')
        for i in range(3)
    ]
    return _write(path, pickle.dumps(rows))


def _make_checkpoint(path: Path) -> Path:
    from mmengine.logging import MessageHub

    hub = MessageHub('fuzz')
    hub.update_scalar('train/loss', 0.5)
    state = torch.nn.BatchNorm1d(3).state_dict()
    meta = dict(epoch=1, iter=4, cfg='x = 1')
    torch.save(dict(meta=meta, state_dict=state, message_hub=hub.state_dict()), path)
    return path


def _make_safetensors(path: Path) -> Path:
    from safetensors.torch import save_file

    save_file({'a': torch.rand(3, 2), 'b': torch.arange(4)}, path, {'classes': 'x'})
    return path


def _make_pickle(path: Path) -> Path:
    return _write(path, formats.annotations(2))


def readers() -> dict[str, Reader]:
    """All readers by name."""
    tools = {name: tool(name) for name in _TOOLS}

    def nucla(form: str, suffix: str) -> Reader:
        make = lambda folder: formats.write_nucla(folder / f'nucla{suffix}', form)  # noqa: E731
        return Reader(make, tools['nucla'])

    return {
        'pickle': Reader(lambda f: _make_pickle(f / 'a.pkl'), load_pickle),
        'annotations': Reader(lambda f: formats.write_pyskl(f / 'a.pkl'), tools['pyskl']),
        'scores npz': Reader(lambda f: _make_scores(f / 'a.npz'), read_scores),
        'scores of MMAction2': Reader(lambda f: _make_dump(f / 'a.pkl'), read_scores),
        'checkpoint': Reader(lambda f: _make_checkpoint(f / 'a.pth'), load_weights),
        'safetensors': Reader(lambda f: _make_safetensors(f / 'a.safetensors'), load_weights),
        'ntu': Reader(lambda f: formats.write_ntu(f / 'ntu', 3), tools['ntu']),
        'nucla': nucla('folder', ''),
        'nucla zip': nucla('zip', '.zip'),
        'nucla tgz': nucla('tgz', '.tgz'),
        'pku_mmd': Reader(lambda f: formats.write_pku(f / 'pku'), tools['pku_mmd']),
        'holistic npz': Reader(
            lambda f: formats.write_holistic(f / 'a.npz', 'npz'), tools['holistic']
        ),
        'holistic npy': Reader(lambda f: formats.write_holistic(f / 'tree'), tools['holistic']),
        'openpose': Reader(lambda f: formats.write_openpose(f / 'op'), tools['keypoints']),
        'clip store': Reader(lambda f: formats.write_store(f / 'store'), read_store),
        'region store': Reader(lambda f: formats.write_regions(f / 'regions'), read_region_store),
    }


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
def _changed(draw: Callable, data: bytes) -> bytes:
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
    def late(*_: object) -> None:
        raise Forbidden(f'no answer in {SECONDS} seconds')

    if not _WATCH:
        _WATCH.append(_Watch())
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    _WATCH[0].inside = os.path.realpath(folder)
    try:
        yield
    finally:
        _WATCH[0].inside = None
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(name: str, reader: Reader, cases: int, number: int = 0) -> dict[str, float]:
    """Runs mutated cases of a reader; returns counts, the slowest case and the memory's peak.

    Raises:
        Forbidden: Or whatever else a case raised that is not an error of ours.
    """
    counts = {'cases': 0, 'read': 0, 'refused': 0, 'slowest': 0.0}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = reader.make(folder)
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted([made, *made.rglob('*')])
            if path.is_file() and path.name != 'writer.lock'
        }

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
            start = time.monotonic()
            counts['cases'] += 1
            try:
                with _limits(folder):
                    reader.read(made)
                counts['read'] += 1
            except BHaRNetError:
                counts['refused'] += 1
            counts['slowest'] = max(counts['slowest'], round(time.monotonic() - start, 3))

        run()
    counts['peak_mb'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return counts


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
