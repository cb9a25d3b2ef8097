"""Several writers of one output: it is that of one of them, whole."""

import hashlib
import json
import os

import pytest

from bharnet_mm.apis.html_page import save_page
from bharnet_mm.apis.model_card import read_card
from bharnet_mm.apis.model_zoo import find_trained
from bharnet_mm.apis.publish import write_published
from bharnet_mm.errors import WriteError
from bharnet_mm.experiments.compare import write_between
from bharnet_mm.io.atomic import write_json
from bharnet_mm.io.weights import load_weights


def publish(path, n):
    trained = find_trained('bharnet_light_asl10')
    state = load_weights(trained)['state_dict']
    write_published(path, read_card(trained), {k: v.clone() for k, v in state.items()})


WAYS = {
    'a.json': lambda path, n: write_json(path, {'who': n, 'numbers': [n] * 20_000}),
    'a.html': lambda path, n: save_page(path, f'page {n}', [f'<p>{n}</p>' * 20_000]),
    'a.md': lambda path, n: write_between(path, 'x', f'{n}\n' * 20_000),
    'a.safetensors': publish,
}


@pytest.mark.parametrize('name', WAYS)
def test_two_writers_of_one_file(tmp_path, name):
    path, write = tmp_path / name, WAYS[name]
    children = []
    if name == 'a.md':
        path.write_text('<!-- x -->\n<!-- /x -->\n')
    for n in (1, 2):
        if (child := os.fork()) == 0:
            code = 1
            try:
                for _ in range(3):
                    write(path, n)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    found = path.read_bytes()
    if name == 'a.json':
        content = json.loads(found)
        assert set(content['numbers']) == {content['who']} and len(content['numbers']) == 20_000
    elif name == 'a.html':
        who = 1 if b'page 1' in found else 2
        assert found.count(b'<p>%d</p>' % who) == found.count(b'<p>') == 20_000
    elif name == 'a.md':
        lines = found.decode().splitlines()
        assert len(set(lines[2:20_002])) == 1 and lines[-1] == '<!-- /x -->'
    else:
        assert hashlib.sha256(found).hexdigest() and load_weights(path)['state_dict']
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_full_disk(small_disk):
    """Pages and tables of a full disk: an error of ours, and what was there stays."""
    ways = {name: WAYS[name] for name in ('a.json', 'a.html', 'a.md', 'a.safetensors')}
    for name in ways:
        (small_disk / name).write_text('<!-- x -->\n<!-- /x -->\n')
    (small_disk / 'filler').write_bytes(bytes((1 << 20) - (48 << 10)))
    for name, write in ways.items():
        with pytest.raises(WriteError, match='No space left'):
            write(small_disk / name, 1 if name != 'a.md' else 'abc' * 9)
        assert (small_disk / name).read_text() == '<!-- x -->\n<!-- /x -->\n'
    assert sorted(file.name for file in small_disk.iterdir()) == sorted([*ways, 'filler'])
