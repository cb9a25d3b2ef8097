"""Names that occur more than once are found in one pass."""

import json

import pytest

from bharnet_mm.errors import ConfigError
from bharnet_mm.io.names import from_bytes, json_safe, repeated, shown, table_row, to_bytes
from bharnet_mm.io.text import to_json


class Counted(str):
    """A name that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Counted.compared += 1
        return str.__eq__(self, other)


def test_repeated():
    assert repeated(['b', 'a', 'b', 'c', 'a']) == ['a', 'b'] and repeated('abc') == []
    assert repeated([f'{i // 2}' for i in range(100)], most=2) == ['0', '1']
    repeated([Counted(i // 2) for i in range(10_000)])
    assert Counted.compared < 20_000


@pytest.mark.parametrize(
    'text, wanted',
    [
        ('wave à 手を振る 👋🏽', 'wave à 手を振る 👋🏽'),
        ('\x1b[2J', '\\x1b[2J'),
        ('two\nlines\r\t', '\\n'.join(['two', 'lines']) + '\\r\\t'),
        ('\u202eevil\u2066', '\\u202eevil\\u2066'),
        ('a\u2028b\x9bm', 'a\\u2028b\\x9bm'),
        ('\udcff', '\\udcff'),
    ],
)
def test_shown(text, wanted):
    assert shown(text) == wanted and shown(wanted) == wanted
    assert str(ConfigError(text, text, text, text)).count(wanted) == 4
    content = {text: [text, {'a': text}]}
    written = to_json(content)
    written.encode()
    assert json.loads(written) == content
    assert shown(written.replace('\n', '')) == written.replace('\n', '')
    assert json_safe(written) == written


def test_a_row_of_a_table_stays_one():
    assert table_row(['a|b', 'c\nd', 1]) == '| a\\|b | c\\nd | 1 |'


def test_names_of_files_are_their_bytes_again():
    for raw in (b'plain', 'wäve'.encode(), b'\xff\xfe.avi'):
        assert to_bytes(from_bytes(raw)) == raw
    assert from_bytes(to_bytes('\ud800')) != '\ud800'
