"""Names of clips, classes and files that steer a terminal or break a report: all that is printed,
drawn and written stays whole and harmless, and the data keep their names.
"""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest

from bharnet_mm import cli
from bharnet_mm.apis.drawing import draw_frame
from bharnet_mm.apis.model_report import draw_classes
from bharnet_mm.apis.predict import row
from bharnet_mm.apis.results import Label, Prediction, as_result, save_results
from bharnet_mm.datasets import ClipStore
from bharnet_mm.datasets.store import StoreWriter
from bharnet_mm.datasets.synthetic.sample import write_sample
from bharnet_mm.errors import ClipError
from bharnet_mm.experiments import browse
from bharnet_mm.layouts import get_layout

NAMES = [
    '\x1b[2J\x1b[31mred',
    'two\nlines\r| a | b |',
    '\u202eevil',
    '<script>alert(1)</script>',
    os.fsdecode(b'latin\xff'),
    '$x^{$',
    '[bold]m[/x]',
    'a\u2028b\x9b31m\x07',
]
HARMFUL = re.compile('[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]|<script')


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp('names')
    write_sample(folder / 'plain', clips_per_class=1)
    plain = ClipStore(folder / 'plain')
    names = [*NAMES, *plain.classes[len(NAMES) :]]
    with StoreWriter(
        folder / 'odd',
        'na\x1b[31mme',
        plain.body_layout,
        plain.hand_layout,
        plain.channels['body'],
        plain.channels['hand'],
        names,
        pixels=True,
    ) as writer:
        for i in range(len(plain)):
            name = NAMES[i % len(NAMES)]
            writer.add(replace(plain[i], clip_id=f'{name}{i}', video=f'{name}{i}.mp4'))
    return folder / 'odd'


def test_names_stay_as_they_are(store):
    read = ClipStore(store)
    assert read.classes[: len(NAMES)] == NAMES
    for i in range(len(read)):
        name = f'{NAMES[i % len(NAMES)]}{i}'
        assert read[i].clip_id == read.clip_ids[i] == name and read.find(name) == i
    assert read.select({'clip_id': [f'{NAMES[4]}4']}).tolist() == [4]


def test_half_a_character_that_is_no_byte_is_refused(store, tmp_path):
    read = ClipStore(store)
    with (
        StoreWriter(
            tmp_path / 'new',
            'new',
            read.body_layout,
            read.hand_layout,
            read.channels['body'],
            read.channels['hand'],
            read.classes,
            pixels=True,
        ) as writer,
        pytest.raises(ClipError, match='half a character'),
    ):
        writer.add(replace(read[0], clip_id='\ud800'))


def test_doctor(store, tmp_path, capsys):
    page, data = tmp_path / 'page.html', tmp_path / 'data.json'
    with pytest.raises(SystemExit):
        cli.main(['doctor', str(store), '--html', str(page), '--json', str(data)])
    said = capsys.readouterr().out
    assert 'na\\x1b[31mme' in said and not HARMFUL.search(said)
    assert '\\x1b[2J\\x1b[31mred' in page.read_text() and not HARMFUL.search(page.read_text())
    assert [row['name'] for row in json.loads(data.read_text())['classes']][: len(NAMES)] == NAMES
    assert not HARMFUL.search(data.read_text().replace('<script', ''))


def test_browse(store, tmp_path, capsys):
    names = [f'{NAMES[i]}{i}' for i in (0, 3, 5)]
    out = str(tmp_path / 'out')
    written = browse.main([str(store), '--clip', *names, '--frames', '1', '--out', out])
    assert len(set(written)) == 3 and all(path.stat().st_size > 1000 for path in written)
    said = capsys.readouterr().out
    assert said.count('\n') == 3 and not HARMFUL.search(said.replace('<script', ''))


def test_predictions(tmp_path):
    labels = tuple(Label(name, 0.1) for name in NAMES)
    nothing = dict(
        start=0.0, end=1.0, person=0, frame_index=np.arange(3), layout=get_layout('coco'),
        body=np.zeros((3, 17, 2)), body_score=np.zeros(3), hand=np.zeros((2, 3, 21, 2)),
        hand_score=np.zeros((2, 3)),
    )  # fmt: skip
    results = [
        as_result(
            Prediction(labels=labels[i:], experts={'body': labels[i:]}, unsure=False),
            video=f'in/{name}.mp4',
            **nothing,
        )
        for i, name in enumerate(NAMES)
    ]
    for result in results:
        said = row(result)
        assert '\n' not in said and not HARMFUL.search(said.replace('<script', ''))
        picture = np.zeros((200, 300, 3), np.uint8)
        assert draw_frame(picture, [], result.lines()).any()
    save_results(results, json=tmp_path / 'answers.json')
    text = (tmp_path / 'answers.json').read_text()
    assert not HARMFUL.search(text.replace('<script', ''))
    assert [r['label'] for r in json.loads(text)['results']] == NAMES


def test_names_in_figures_are_no_formulas():
    accuracy = {'body': np.ones(len(NAMES)), 'pred': np.ones(len(NAMES))}
    draw_classes(accuracy, tuple(NAMES))
