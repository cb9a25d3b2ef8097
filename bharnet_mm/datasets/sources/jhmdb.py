"""JHMDB: the official splits, and training clips to hold out. The extraction reads its videos."""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from ...errors import SourceError
from ...io.guard import reads
from ...io.names import to_bytes
from ...io.text import read_text

_FILE = re.compile(r'(.+)_test_split([123])\.txt')
_SIDES = {'1': 'train', '2': 'test', 'train': 'train', 'test': 'test'}


@reads('a source as docs/data.md describes it')
def read_splits(path: Path) -> dict[str, list[str]]:
    """The three official splits as lists of clip ids, `<class>/<video without .avi>`.

    Args:
        path: The folder `splits` of the data set, with files `<class>_test_split<k>.txt` whose
            lines are `<video>.avi 1` (train) or `... 2` (test); or one CSV file with columns
            `path`, `split1`, `split2`, `split3` whose values are `train` or `test`.

    Returns:
        `jhmdb1_train`, `jhmdb1_test` to `jhmdb3_test`; and, if :func:`hold_out` finds clips to hold
        out, `jhmdb1_fit`, `jhmdb1_held` to `jhmdb3_held`.

    Raises:
        SourceError: The path has neither form, or a line has another form.
    """
    rows = _from_csv(path) if path.is_file() else _from_folder(path)
    splits: dict[str, list[str]] = {}
    for number in '123':
        for side in ('train', 'test'):
            ids = [name for name, k, value in rows if (k, _SIDES[value]) == (number, side)]
            splits[f'jhmdb{number}_{side}'] = [name.removesuffix('.avi') for name in ids]
    if not all(splits.values()):
        empty = [name for name, ids in splits.items() if not ids]
        raise SourceError(str(path), f'no clip of {empty}', 'three splits', 'give all of the files')
    for number in '123':
        fit, held = hold_out(splits[f'jhmdb{number}_train'])
        if held:
            splits |= {f'jhmdb{number}_fit': fit, f'jhmdb{number}_held': held}
    return splits


def source_pattern(splits: Mapping[str, list[str]]) -> str:
    """Pattern whose first group is the source video in the path of a clip, as the clip's subject.

    A path is `<class>/<source>_<class>_...`. Clips of one source look alike, so folds inside the
    training clips must not divide them. The first 32 characters of a source are taken.

    Args:
        splits: As :func:`read_splits` gives them.
    """
    labels = sorted({clip_id.split('/')[0] for ids in splits.values() for clip_id in ids})
    return rf'([^/]{{1,32}})[^/]*?_(?:{"|".join(map(re.escape, labels))})_[^/]*$'


def hold_out(clip_ids: list[str]) -> tuple[list[str], list[str]]:
    """Divides training clips into two sets, to choose settings without test clips (our choice).

    Clips of one source video, `<class>/<source>_<class>_...`, look alike and stay together. In each
    class whole sources are held out, ordered by their checksum, until a quarter of its clips is
    held out. A source with more than half of the class is never held out.

    Returns:
        Clips to fit, clips held out.
    """
    classes: dict[str, dict[str, list[str]]] = {}
    for clip_id in clip_ids:
        label, name = clip_id.split('/', 1)
        classes.setdefault(label, {}).setdefault(name.split(f'_{label}_')[0], []).append(clip_id)
    fit, held = [], []
    for sources in classes.values():
        total, taken = sum(map(len, sources.values())), 0
        for _, ids in sorted(sources.items(), key=lambda item: zlib.crc32(to_bytes(item[0]))):
            out = taken < total / 4 and len(ids) <= total / 2
            (held if out else fit).extend(ids)
            taken += out * len(ids)
    return fit, held


def _from_csv(path: Path) -> list[tuple[str, str, str]]:
    with open(path, encoding='utf-8', newline='') as stream:
        rows = list(csv.DictReader(stream))
    columns = {'path', 'split1', 'split2', 'split3'}
    for number, row in enumerate(rows, 2):
        if not columns <= set(row) or any(row[f'split{k}'] not in _SIDES for k in '123'):
            raise SourceError(
                f'{path}, line {number}',
                repr(row),
                'path and, in split1 to split3, train or test',
                'give the folder splits of the data set instead',
            )
    return [(row['path'], k, row[f'split{k}']) for row in rows for k in '123']


def _from_folder(path: Path) -> list[tuple[str, str, str]]:
    rows = []
    for file in sorted(path.glob('[!.]*_test_split?.txt')):
        match = _FILE.fullmatch(file.name)
        for number, line in enumerate(read_text(file).splitlines(), 1):
            words = line.split()
            if not words:
                continue
            if match is None or len(words) != 2 or words[1] not in ('1', '2'):
                raise SourceError(
                    f'{file}, line {number}',
                    repr(line),
                    '<video>.avi and 1 (train) or 2 (test)',
                    'take the file from the data set again',
                )
            rows.append((f'{match[1]}/{words[0]}', match[2], words[1]))
    if not rows:
        raise SourceError(
            str(path),
            'no split files',
            '<class>_test_split1.txt and so on, or a CSV file',
            'correct the path',
        )
    return rows
