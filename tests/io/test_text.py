"""JSON whose value would take much more memory than its text."""

import json

import pytest

from bharnet_mm.errors import SourceError
from bharnet_mm.io.text import parse_json, read_json


@pytest.mark.parametrize('text', ['[],', '{},', '0,', '"":0,'])
def test_values_that_would_fill_the_memory_are_refused_before(text, tmp_path):
    whole = '[' + text * (24 << 20) + '0]'
    with pytest.raises(ValueError, match='whose value may take'):
        parse_json(whole)
    with pytest.raises(ValueError, match='whose value may take'):
        parse_json(whole.encode())


def test_what_real_files_hold_is_read(tmp_path):
    frame = [{'x': 0.123456, 'y': 0.5, 'z': -0.1, 'visibility': 0.99}] * 75
    content = [frame] * 2000  # more than a minute of MediaPipe's results
    (tmp_path / 'a.json').write_text(json.dumps(content))
    assert read_json(tmp_path / 'a.json', 'frames', kind=list) == content
    (tmp_path / 'a.json').write_text('[' * 10**6)
    with pytest.raises(SourceError, match='a.json'):
        read_json(tmp_path / 'a.json', 'frames')
