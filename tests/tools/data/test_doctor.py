"""tools/data/doctor.py: exit status, the page, JSON, and what it says of real data."""

import base64
import json
import os
import re
import runpy
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bharnet_mm.datasets import ClipStore, StoreWriter
from bharnet_mm.datasets.synthetic.sample import SPLITS, SyntheticSample

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / 'shared' / 'data'
VOID = {'meta', 'br', 'img', 'link', 'hr', 'input', 'line'}


def tool(name):
    """Runs ``tools/data/NAME.py`` with some arguments; its exit status."""

    def call(*args):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('sys.argv', [name, *map(str, args)])
            with pytest.raises(SystemExit) as caught:
                runpy.run_path(str(ROOT / f'tools/data/{name}.py'), run_name='__main__')
        return caught.value.code or 0

    return call


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(os, 'fsync', lambda handle: None)
    monkeypatch.setenv('COLUMNS', '160')


@pytest.fixture
def store(tmp_path):
    sample = SyntheticSample(seed=3, clips_per_class=8)
    classes = ['<script>alert("&")</script>', *sample.classes[1:]]
    settings = dict(name='a & b', body_layout='kinect_v2', classes=classes, pixels=True)
    with StoreWriter(tmp_path / 'store', splits=SPLITS, **settings) as writer:
        for clip in sample:
            writer.add(clip)
    return tmp_path / 'store'


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what the page would load."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.loads, self.text = [], [], [], ''
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for key, value in attrs if key in ('src', 'href', 'action', 'data')]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_stands_alone(store, tmp_path, capsys):
    assert tool('doctor')(store, '--html', tmp_path / 'p.html', '--json', tmp_path / 'p.json') == 0
    text = (tmp_path / 'p.html').read_text(encoding='utf-8')
    page = Page(text)
    assert 'script' not in page.tags and 'link' not in page.tags and '@import' not in text
    assert not re.search(r'https?://|url\(', text)
    (picture,) = page.loads
    head, data = picture.split(',')
    assert head == 'data:image/png;base64' and base64.b64decode(data).startswith(b'\x89PNG')
    assert page.tags.count('svg') == 1 and '<script>alert("&")</script>' in page.text
    for word in ('a & b', 'Fit for training', 'xview_test', 'no left hand', '128 clips'):
        assert word in page.text
    printed = capsys.readouterr().out
    assert 'fit for training: 0 errors' in printed and 'xsub_train' in printed

    content = json.loads((tmp_path / 'p.json').read_text(encoding='utf-8'))
    assert content['exit_status'] == 0 and content['totals']['clips'] == 128
    assert sum(content['lengths']['counts']) == 128
    assert len(content['lengths']['edges']) == len(content['lengths']['counts']) + 1
    assert [row['clips'] for row in content['classes']] == [8] * 16
    assert content['classes'][1]['splits']['xsub_test'] == 3


def test_errors_fail_and_are_shown(store, tmp_path, capsys):
    data = bytearray((store / 'hand.bin').read_bytes())
    data[10] ^= 4
    (store / 'hand.bin').write_bytes(data)
    assert tool('doctor')(store, '--html', tmp_path / 'p.html') == 1
    assert 'training or its result would be wrong: 1 error' in capsys.readouterr().out
    text = Page((tmp_path / 'p.html').read_text(encoding='utf-8')).text
    assert 'would be wrong: 1 error' in text and 'checksum' in text and 'synthetic00000' in text


def test_a_store_that_does_not_open_has_a_page(store, tmp_path):
    (store / 'index.bin').write_bytes(b'')
    files = '--html', tmp_path / 'p.html', '--json', tmp_path / 'p.json'
    assert tool('doctor')(store, *files) == 1
    assert 'cannot be opened' in Page((tmp_path / 'p.html').read_text()).text
    assert json.loads((tmp_path / 'p.json').read_text())['findings'][0]['check'] == 'integrity'


def real(converter, file, out):
    if not (SHARED / file).exists():
        pytest.skip(f'no ../shared/data/{file}')
    tool(converter)(SHARED / file, out, '--workers', 1)
    return ClipStore(out)


def test_asl10(tmp_path):
    real('holistic', 'asl10.npz', tmp_path / 'asl10')
    assert tool('doctor')(tmp_path / 'asl10', '--json', tmp_path / 'p.json') == 0
    content = json.loads((tmp_path / 'p.json').read_text())
    total = content['totals']
    assert total['clips'] == 900 and total['subjects'] == 3 and total['missing_person'] == 0
    rates = [total[f'missing_{key}'] for key in ('left', 'right', 'hands')]
    assert rates == pytest.approx([0.427, 0.191, 0.109], abs=5e-4)
    # the hands are in the coordinates of the body, and each hangs on its arm
    assert total['hand_plane'] == 'body' and total['wrists_compared'] > 30_000
    assert total['wrists_crossed'] < 0.01 * total['wrists_compared']
    warnings = [finding for finding in content['findings'] if finding['severity'] == 'warning']
    assert [finding['examples'] for finding in warnings] == [['none']]


def test_nucla(tmp_path):
    store = real('nucla', 'nucla_all_sqe.tgz', tmp_path / 'nucla')
    assert tool('doctor')(tmp_path / 'nucla', '--json', tmp_path / 'p.json') == 1
    findings = json.loads((tmp_path / 'p.json').read_text())['findings']
    # In this form of the data set 95 recordings of view 3 are those of view 2, byte by byte.
    errors = [finding for finding in findings if finding['severity'] == 'error']
    assert {finding['check'] for finding in errors} == {'duplicates'}
    assert '95 of 464 test clips' in errors[0]['message']
    one = store[store.find('a03_s01_e02_v03')]
    assert (one.body == store[store.find('a03_s01_e02_v02')].body).all()
    warnings = {
        finding['message']: finding['count']
        for finding in findings
        if finding['severity'] == 'warning'
    }
    assert warnings == {
        'clips of a single frame': 2,
        'clips with the content of another clip': 95,
    }
