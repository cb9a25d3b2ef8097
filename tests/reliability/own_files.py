"""Small files that the project writes or is given beside the data: lists, settings, results."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import formats
import numpy as np

from bharnet_mm.apis.publish import read_unknown
from bharnet_mm.datasets.extraction.output import Settings, check_settings
from bharnet_mm.datasets.extraction.plan import read_split_lists
from bharnet_mm.datasets.protocols import pku_mmd_splits
from bharnet_mm.datasets.sources.ntu import read_missing_list
from bharnet_mm.datasets.sources.pyskl import class_names
from bharnet_mm.datasets.store import ClipStore
from bharnet_mm.datasets.store.splits import check_rule
from bharnet_mm.errors import ConfigError
from bharnet_mm.evaluation.scores import save_scores
from bharnet_mm.experiments.compare import SETTINGS, cpu_minutes, keep_settings, write_between
from bharnet_mm.experiments.robustness import read_results
from bharnet_mm.io.guard import reading
from bharnet_mm.io.text import load_json, read_json
from bharnet_mm.layouts import get_layout
from bharnet_mm.runtime.recognizer import build_pipeline, read_inputs

Made, Read = Callable[[Path], Path], Callable[[Path], object]


def _text(name: str, text: str) -> Made:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def _json(name: str, content: Any) -> Made:
    return _text(name, json.dumps(content))


def _nucla_text(folder: Path) -> Path:
    """Two clips of the original download of Northwestern-UCLA."""
    for view, clip in (('view_1', 'a01_s01_e01'), ('view_2', 'a09_s02_e01')):
        place = folder / 'nucla' / view / clip
        place.mkdir(parents=True)
        (place / 'fileList.txt').write_text(''.join(f'{i} frame_{i}\n' for i in (1, 2, 3)))
        for i in (1, 2, 3):
            rows = np.random.default_rng(i).normal(size=(20, 3)).round(3).tolist()
            lines = ['1', *(','.join([*map(str, row), '2']) for row in rows)]
            (place / f'frame_{i}_tc_{i}_skeletons.txt').write_text('\n'.join(lines) + '\n')
    return folder / 'nucla'


def _settings(folder: Path) -> Path:
    check_settings(folder / 'out', Settings())
    return folder / 'out'


def _compared(folder: Path) -> Path:
    """Settings of compare.py and what a fold cost."""
    (folder / 'out/fold').mkdir(parents=True)
    values = dict(field='subject', exclude=[], amp=False, train_share=1.0, fit_fusion=False)
    (folder / 'out/settings.json').write_text(json.dumps(values))
    (folder / 'out/fold/cost.json').write_text(json.dumps({'seconds': 5.0, 'cpu_seconds': 4.0}))
    return folder / 'out'


class _Fold:
    def __init__(self, place: Path) -> None:
        self.place = place

    def folder(self, value: str, seed: int) -> Path:
        return self.place / 'fold'


def _read_compared(place: Path) -> None:
    cpu_minutes(_Fold(place), ['1'], [0])
    args = argparse.Namespace(out=place, no_train=True, **dict.fromkeys(SETTINGS))
    keep_settings(args)


def _unknown(folder: Path) -> Path:
    (folder / 'loo/a').mkdir(parents=True)
    (folder / 'loo/summary.json').write_text(json.dumps({'unknown': ['x'], 'mean': 0.5}))
    logits = {'pred': np.zeros((4, 3))}
    save_scores(folder / 'loo/a/scores.npz', list('abcd'), [0, 1, 2, 0], logits, ['x', 'y', 'z'])
    return folder / 'loo'


def _read_split_lists(path: Path) -> None:
    read_split_lists([f'mine={path}'])


def _read_layout(path: Path) -> None:
    with reading(path, 'a layout', error=ConfigError):
        content = load_json(path)
    layout = get_layout(content)
    assert layout.num_joints and layout.hops is not None and layout.edge_index is not None
    layout.to_dict()


def _read_rule(path: Path) -> None:
    rule = read_json(path, 'a rule')
    check_rule(rule)
    folder = path.parent / 'store'
    ClipStore(folder if folder.exists() else formats.write_store(folder)).select(rule)


def _read_pipeline(path: Path) -> None:
    build_pipeline(read_json(path, 'steps', kind=list))


def _read_inputs(path: Path) -> None:
    with reading(path, 'inputs', error=ConfigError):
        text = path.read_text()
    read_inputs(text, path)


_STEPS = [
    dict(type='SelectPersons', max_persons=2),
    dict(type='NormalizeSkeleton', part='body', center='first', scale='clip'),
    dict(type='SampleWindow', num_frames=16, window=0.95),
    dict(type='FormatBodyHand', num_persons=1),
]
_CELLS = {'P': {'w/0': {'checkpoint': 'ab', 'cells': {'clean 0 0': {'pred': 0.5}}}}}


def own_files() -> dict[str, tuple[Made, Read]]:
    """Name to what makes its files and what reads them."""
    ids = ''.join(f'S001C001P00{i}R001A001\n' for i in range(1, 9))
    lists = ''.join(f'a/clip{i}.mp4\n' for i in range(9))
    labelled = [{'label': 2, 'frame_dir': 'a'}]
    return {
        'nucla text': (_nucla_text, None),
        'missing list': (_text('missing.txt', ids), read_missing_list),
        'split list': (_text('train.txt', lists), _read_split_lists),
        'class names': (_text('n.txt', 'a\nb\nc\n'), lambda path: class_names(labelled, path)),
        'pku splits': (lambda f: formats.write_pku(f / 'pku') / 'splits', pku_mmd_splits),
        'extraction settings': (_settings, lambda path: check_settings(path, Settings())),
        'compare': (_compared, _read_compared),
        'robustness': (_json('r.json', _CELLS), read_results),
        'unknown classes': (_unknown, read_unknown),
        'page': (
            _text('p.md', 'a\n<!-- x -->\nb\n<!-- /x -->\nc\n'),
            lambda path: write_between(path, 'x', 'new'),
        ),
        'layout': (lambda f: _json('l.json', get_layout('coco').to_dict())(f), _read_layout),
        'split rule': (_json('r.json', {'subject': ['1'], 'label': {'not_in': [0]}}), _read_rule),
        'pipeline': (_json('p.json', _STEPS), _read_pipeline),
        'graph inputs': (_json('i.json', {'body': [1, 'frames', 33, 3]}), _read_inputs),
    }
