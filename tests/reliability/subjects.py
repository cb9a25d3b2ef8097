"""What is killed: a training, each converter, the extraction and what writes region stores.

Each subject has ``run(place)``, which begins or continues its work, ``check(place)``, which looks
at what a kill left, and ``content(place)``, which must equal ``wanted`` at the end.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import torch

TESTS = Path(__file__).resolve().parents[1]
for place in ('reliability', 'engine', 'datasets/extraction', '.'):
    sys.path.insert(0, str(TESTS / place))
import formats  # noqa: E402
from fake_estimator import BACKEND, moving, write_video  # noqa: E402
from toy_training import EPOCHS, make_runner  # noqa: E402

from bharnet_mm.datasets import ClipStore, ingest  # noqa: E402
from bharnet_mm.datasets.extraction.output import Settings, merge  # noqa: E402
from bharnet_mm.datasets.extraction.regions import extract_regions  # noqa: E402
from bharnet_mm.datasets.extraction.runner import extract  # noqa: E402
from bharnet_mm.datasets.regions import RegionGrid  # noqa: E402
from bharnet_mm.datasets.store.regions import RegionStore  # noqa: E402
from bharnet_mm.engine.resume import newest_checkpoint  # noqa: E402

MARK = 'BHARNET_MM_KILLED'
VIDEOS = ('tea/S1_a', 'tea/S2_a', 'book/S1_a', 'book/S2_a', 'milk/S3_a')


class Training:
    """A training with validation, best checkpoints and all hooks, resumed as ``--resume`` does."""

    #: Kills within the bytes of a file are within those of a checkpoint.
    suffix = '.pth'
    #: Whether processes that it starts are killed with it.
    together = False

    def __init__(self, folder: Path) -> None:
        self.numbers = itertools.count()

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


class Writing:
    """Anything that writes one clip store and commits often, as over many clips."""

    suffix, together = '', False

    def check(self, place: Path) -> None:
        if (place / 'store.json').exists():
            store = ClipStore(place)
            ids = store.clip_ids.tolist()
            assert len(set(ids)) == len(ids), 'a clip twice'
            assert store.verify() == [], 'a damaged clip'

    def content(self, place: Path) -> dict[str, bytes]:
        """All files but the locks and the shards."""
        return {
            path.name: path.read_bytes()
            for path in sorted(place.iterdir())
            if path.is_file() and path.name != 'writer.lock'
        }


class Conversion(Writing):
    """A converter, continued with ``--resume``."""

    def __init__(self, folder: Path, name: str, make: Callable[[Path], Path]) -> None:
        self.tool, self.name, self.source = tool(name), name, make(folder / 'source')

    def run(self, place: Path) -> None:
        ingest._COMMIT_EVERY = 1
        resume = ['--resume'] if place.exists() else []
        self.tool.command([*formats.arguments(self.name, self.source, place), *resume])


class Sample(Writing):
    """The synthetic sample, which commits once, at its end."""

    def __init__(self, folder: Path) -> None:
        pass

    def run(self, place: Path) -> None:
        from bharnet_mm.datasets.synthetic.sample import write_sample

        if not (place / 'store.json').exists():
            write_sample(place, clips_per_class=1)


class Extraction(Writing):
    """Hands and bodies from videos, by an estimator that needs no model."""

    backend = BACKEND
    workers = 0
    videos = VIDEOS

    def __init__(self, folder: Path) -> None:
        for i, name in enumerate(self.videos):
            write_video(folder / f'videos/{name}.avi', moving(4 + i, seed=i))
        self.source = folder / 'videos'

    def run(self, place: Path) -> None:
        ingest._COMMIT_EVERY = 1
        extract(self.source, place, Settings(backend=self.backend), workers=self.workers)


class MediaPipe(Extraction):
    """The same with MediaPipe's models, on frames of a person."""

    backend = 'mediapipe'

    def __init__(self, folder: Path) -> None:
        from concurrent.futures import ProcessPoolExecutor

        # In another process: decoders leave threads behind, with which nobody should be forked.
        with ProcessPoolExecutor(1) as pool:
            pool.submit(write_pictures, folder / 'videos').result()
        self.source = folder / 'videos'


def write_pictures(folder: Path) -> None:
    for i, frames in enumerate(pictures()):
        write_video(folder / f'a/{i}.avi', frames)


def pictures() -> Iterator[list]:
    """Three frames each of two people: real ones where there are any, else rendered ones."""
    from bharnet_mm.datasets.synthetic.rendering import draw_scene
    from bharnet_mm.datasets.synthetic.sample import SyntheticSample
    from bharnet_mm.datasets.video import open_video

    real = sorted((TESTS.parents[1] / 'shared/data/videos').glob('*.mkv'))[:2]
    if len(real) == 2:
        found: Iterable = (open_video(path)[1] for path in real)
    else:
        found = (draw_scene(SyntheticSample(0, 1).scene(i, 0)) for i in range(2))
    for frames in found:
        yield list(itertools.islice(frames, 20, 23))


class Workers(Extraction):
    """With two worker processes, which have to end with the process that started them."""

    workers = 2

    def run(self, place: Path) -> None:
        os.environ[MARK] = str(place)
        super().run(place)

    def check(self, place: Path) -> None:
        super().check(place)
        deadline = time.monotonic() + 20
        while left := marked(place):
            assert time.monotonic() < deadline, f'processes that outlive the one killed: {left}'
            time.sleep(0.05)


def marked(place: Path) -> list[int]:
    """Processes, ourselves not among them, that work for a place."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(place) and process.status() != 'zombie':
                found.append(process.pid)
    return [number for number in found if number != os.getpid()]


class JHMDB(Extraction):
    """The tool for JHMDB: an extraction of ``<source>_<class>_...``, then its splits."""

    videos = tuple(re.sub(r'(.*)/(.*)_', r'\1/\2_\1_', name) for name in VIDEOS)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tool = tool('jhmdb')
        self.splits = formats.write_jhmdb_splits(folder / 'splits', self.videos)

    def run(self, place: Path) -> None:
        ingest._COMMIT_EVERY = 1
        paths = map(str, (self.source, self.splits, place))
        assert self.tool.command([*paths, '--backend', BACKEND, '--workers', '0']) == 0


class Hands(Extraction):
    """Hands for the bodies of a store."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store = folder / 'bodies'
        extract(self.source, self.store, Settings(backend=BACKEND), workers=0)

    def run(self, place: Path) -> None:
        ingest._COMMIT_EVERY = 1
        settings = Settings(backend=BACKEND, with_store=True)
        extract(self.source, place, settings, store=self.store, workers=0)


class Regions(Hands):
    """Region grids of a store's clips."""

    def run(self, place: Path) -> None:
        ingest._COMMIT_EVERY = 1
        grid = RegionGrid(('left_wrist', 'right_wrist'), num_frames=2, cell=16, num_offsets=1)
        extract_regions(self.source, self.store, place, grid, workers=0)

    def check(self, place: Path) -> None:
        if (place / 'regions.json').exists():
            store = RegionStore(place)
            assert len(set(store.clip_ids)) == len(store.clip_ids), 'a clip twice'
            assert store.verify() == [], 'a damaged grid'


class Shards(Extraction):
    """Two shards of an extraction at once, which are killed together, and then merged."""

    together = True

    def run(self, place: Path) -> None:
        ingest._COMMIT_EVERY = 1
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


def tool(name: str) -> Any:
    """The module of a tool in ``tools/data``."""
    path = TESTS.parent / f'tools/data/{name}.py'
    spec = importlib.util.spec_from_file_location(f'kill_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: Of these a run takes seconds: a tenth of the kills.
SLOW = ('mediapipe', 'workers')


def converter(name: str, make: Callable[[Path], Path]) -> Callable[[Path], Conversion]:
    return lambda folder: Conversion(folder, name, make)


SUBJECTS: dict[str, Callable[[Path], Any]] = {
    'training': Training,
    'ntu': converter('ntu', formats.write_ntu),
    'nucla': converter('nucla', formats.write_nucla),
    'pku_mmd': converter('pku_mmd', formats.write_pku),
    'pyskl': converter('pyskl', lambda source: formats.write_pyskl(source / 'a.pkl')),
    'holistic': converter('holistic', formats.write_holistic),
    'keypoints': converter('keypoints', formats.write_openpose),
    'synthetic': Sample,
    'extraction': Extraction,
    'hands': Hands,
    'jhmdb': JHMDB,
    'regions': Regions,
    'shards': Shards,
    'mediapipe': MediaPipe,
    'workers': Workers,
}
