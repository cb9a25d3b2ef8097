import os
from collections import Counter

import numpy as np
import pytest

from bharnet_mm.datasets import ingest as _convert
from bharnet_mm.datasets.clip import Clip, empty_hands
from bharnet_mm.datasets.ingest import Converted, Report, convert
from bharnet_mm.datasets.store import ClipStore, StoreWriter
from bharnet_mm.errors import ClipError, SourceError


def clip_of(number, label=0):
    hand, hand_score = empty_hands(1, 3, channels=1)
    body = np.full((1, 3, 20, 3), number, dtype=np.float32)
    score = np.ones((1, 3), dtype=np.float32)
    return Clip(f'clip{number:03d}', label, body, score, hand, hand_score, np.arange(3))


def read(number):
    """Every tenth is ill-formed, every tenth and first unreadable, every tenth and second twice."""
    if number % 10 == 0:
        raise SourceError(f'file {number}', 'rubbish', 'sense', 'try again')
    if number % 10 == 1:
        raise FileNotFoundError(f'file {number}')
    clips = [clip_of(number, label=9 if number % 10 == 3 else 0)]
    clips *= 2 if number % 10 == 2 else 1
    return Converted(f'file {number}', clips, Counter(odd=number % 2) if number % 2 else Counter())


def run(path, workers, **more):
    report = Report()
    store = dict(name='s', body_layout='kinect_v1', hand_layout=None, classes=['a'])
    with StoreWriter(path, **store) as writer:
        convert(range(100), read, writer, report, workers=workers, **more)
    return report, ClipStore(path)


def test_everything_is_counted_and_in_order(tmp_path):
    report, store = run(tmp_path / 's', 1)
    assert {reason: len(names) for reason, names in report.refused.items()} == {
        'ill-formed': 10,
        'cannot be read': 10,
        'the same clip id again': 10,
        'a clip that the store does not accept': 10,
    }
    assert (report.read, report.kept, report.frames) == (100, 70, 210)
    assert report.repaired == {'odd': 40} and report.repaired_items == {'odd': 40}
    assert store.clip_ids.tolist() == [
        f'clip{n:03d}' for n in range(100) if n % 10 not in (0, 1, 3)
    ]
    text = str(report)
    assert 'kept      70 clips, 210 frames' in text and 'refused   40' in text
    assert 'found rubbish; expected sense. Fix: try again' in text and '... and 5 more' in text
    report.save(tmp_path / 'r.json')
    assert (tmp_path / 'r.json').read_text().count('rubbish') == 10


def test_the_store_does_not_depend_on_the_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(_convert, '_CHUNK', 3)
    monkeypatch.setattr(_convert, '_COMMIT_EVERY', 7)
    one, two = run(tmp_path / 'a', 1), run(tmp_path / 'b', 2)
    assert list(one[0].lines())[2:] == list(two[0].lines())[2:]
    for file in sorted(path.name for path in (tmp_path / 'a').iterdir()):
        if file != 'writer.lock':
            assert (tmp_path / 'a' / file).read_bytes() == (tmp_path / 'b' / file).read_bytes(), (
                file
            )


def test_items_are_read_only_a_little_ahead(tmp_path, monkeypatch):
    """Memory stays flat: the source is not drained while the store is behind."""
    monkeypatch.setattr(_convert, '_CHUNK', 2)
    taken, ahead = [], []

    def items():
        for n in range(200):
            taken.append(n)
            yield n * 10 + 4

    guarded = _convert._Guarded(read, strict=False)
    for done, _ in enumerate(_convert._read_all(items(), guarded, workers=2), 1):
        ahead.append(len(taken) - done)
    assert done == 200 and max(ahead) <= 2 * _convert._CHUNK * _convert._IN_FLIGHT


@pytest.mark.parametrize('workers', [1, 2])
def test_strict_stops_at_the_first_error(tmp_path, workers):
    with pytest.raises(SourceError, match='file 0: found rubbish; expected sense. Fix: try again'):
        run(tmp_path / 's', workers, strict=True)


def die(number):
    os._exit(1)


def test_a_worker_that_is_killed(tmp_path):
    with pytest.raises(SourceError, match='killed'):
        list(_convert._read_all([1], _convert._Guarded(die, strict=False), workers=2))


def test_strict_stops_at_a_clip_that_does_not_fit(tmp_path):
    with StoreWriter(
        tmp_path / 's', name='s', body_layout='kinect_v1', hand_layout=None, classes=['a']
    ) as writer:
        with pytest.raises(ClipError, match='clip003'):
            convert([3], read, writer, Report(), strict=True)
