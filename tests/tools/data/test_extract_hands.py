"""The command line of the extraction, with an estimator that needs no pose library."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from bharnet_mm.apis import extract
from bharnet_mm.datasets import ClipStore
from bharnet_mm.errors import ConfigError

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / 'tests' / 'datasets' / 'extraction'))

from fake_estimator import BACKEND, moving, write_video  # noqa: E402


def run(*args, backend=BACKEND):
    parser = argparse.ArgumentParser()
    extract.add_arguments(parser)
    words = [*map(str, args), '--backend', backend, '--workers', '0']
    return extract.run(parser.parse_args(words))


@pytest.fixture
def videos(tmp_path):
    for i, name in enumerate(('tea/S1_a', 'tea/S2_a', 'book/S1_a')):
        write_video(tmp_path / 'videos' / f'{name}.avi', moving(3, seed=i))
    return tmp_path / 'videos'


def test_videos_to_a_store(tmp_path, videos, capsys):
    assert run(videos, tmp_path / 'out', '--subject-regex', r'(S\d)') == 0
    assert 'kept      3 clips, 9 frames' in capsys.readouterr().out
    store = ClipStore(tmp_path / 'out')
    assert [clip.subject for clip in store] == ['S1', 'S1', 'S2']
    assert run(videos, tmp_path / 'out', '--subject-regex', r'(S\d)') == 0
    assert 'skipped   3 clips' in capsys.readouterr().out


def test_shards_and_merge(tmp_path, videos):
    assert run(videos, tmp_path / 'out', '--shard', '1/2') == 0
    assert run(videos, tmp_path / 'out', '--shard', '2/2') == 0
    assert run(videos, tmp_path / 'out', '--merge') == 0
    assert len(ClipStore(tmp_path / 'out')) == 3
    with pytest.raises(ConfigError, match='merge'):
        run(videos, tmp_path / 'out', '--merge', '--shard', '1/2')


@pytest.mark.parametrize('text', ['0/2', '3/2', '1', 'a/b', '1/'])
def test_malformed_shards(tmp_path, videos, text, capsys):
    with pytest.raises(SystemExit):
        run(videos, tmp_path / 'out', '--shard', text)
    assert 'I/N' in capsys.readouterr().err


def test_exit_status(tmp_path, videos, capsys):
    (videos / 'book' / 'bad.mp4').write_bytes(b'nonsense' * 100)
    assert run(videos, tmp_path / 'out') == 0
    assert 'book/bad.mp4' in capsys.readouterr().out
    assert run(videos, tmp_path / 'out', '--strict') == 1
    refused = json.loads((tmp_path / 'out' / 'refused.json').read_text())
    assert [list(names) for names in refused.values()] == [['book/bad.mp4']]
    only = tmp_path / 'only'
    only.mkdir()
    (only / 'bad.mp4').write_bytes(b'nonsense' * 100)
    assert run(only, tmp_path / 'none') == 1
