"""Pipes, broken links and folders without a right to read beside the data: each costs itself and no
other file, and the report names it.
"""

import json
import os
import sys
from pathlib import Path

import pytest
from somebody import needs_root, somebody_else

TESTS = Path(__file__).resolve().parents[1]
for place in ('apis', 'datasets/extraction'):
    sys.path.insert(0, str(TESTS / place))
import formats  # noqa: E402
from fake_estimator import BACKEND, moving, write_video  # noqa: E402
from own_files import own_files  # noqa: E402
from readers import tool_module  # noqa: E402
from recognizers import FakeRecognizer, SquareEstimator, frame  # noqa: E402

from bharnet_mm import BodyHandInferencer, cli  # noqa: E402
from bharnet_mm.datasets import ClipStore  # noqa: E402

#: Source to (what makes it, its converter, clips that it has, clips that one file of it costs).
SOURCES = {
    'ntu': (lambda at: formats.write_ntu(at / 'ntu', 3), 'ntu', 12, 1),
    'nucla': (lambda at: formats.write_nucla(at / 'nucla'), 'nucla', 6, 1),
    'nucla text': (own_files()['nucla text'][0], 'nucla', 2, 1),
    'pku_mmd': (lambda at: formats.write_pku(at / 'pku'), 'pku_mmd', 6, 2),
    'holistic': (lambda at: formats.write_holistic(at / 'tree'), 'holistic', 6, 1),
    'openpose': (lambda at: formats.write_openpose(at / 'op'), 'keypoints', 3, 1),
    'tasks': (lambda at: formats.write_tasks(at / 'tasks'), 'keypoints', 2, 1),
    'videos': (lambda at: videos(at / 'videos'), 'extract', 3, 1),
}


def videos(folder):
    for name in ('wave/a', 'wave/b', 'clap/c'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(folder / f'{name}.avi', moving(4))
    return folder


def convert(name, source, converter):
    """Converts; returns the clips and the text of the report."""
    out = source.parent / 'out'
    if converter != 'extract':
        report = source.parent / 'report.json'
        words = [*formats.arguments(converter, source, out), '--report', str(report)]
        tool_module(converter).command(words)
        return len(ClipStore(out)), report.read_text()
    with pytest.raises(SystemExit) as ended:
        cli.main(['extract', str(source), str(out), '--backend', BACKEND, '--workers', '0'])
    assert ended.value.code == 0
    return len(ClipStore(out)), (out / 'refused.json').read_text()


@pytest.mark.parametrize('name', SOURCES)
@pytest.mark.parametrize('kind', ['pipe', 'device', 'broken link', 'link to itself', 'empty'])
def test_one_odd_file(tmp_path, name, kind):
    make, converter, clips, cost = SOURCES[name]
    source = make(tmp_path)
    data = source / 'data' if name == 'pku_mmd' else source
    odd = sorted(path for path in data.rglob('*') if path.is_file() and 'List' not in path.name)[1]
    odd.unlink()
    if kind == 'pipe':
        os.mkfifo(odd)
    elif kind == 'empty':
        odd.write_bytes(b'')
    else:
        odd.symlink_to({'device': '/dev/zero', 'broken link': 'missing'}.get(kind, odd.name))
    kept, report = convert(name, source, converter)
    if (name, kind) == ('nucla text', 'empty'):  # a frame in which nobody is seen
        assert kept == clips and 'frame without a body' in report
    else:
        assert kept == clips - cost
        assert odd.stem in report or odd.parent.name in report


@needs_root
@pytest.mark.parametrize('name', [name for name in SOURCES if name != 'pku_mmd'])
def test_a_folder_that_may_not_be_read(tmp_path, name):
    make, converter, clips, _ = SOURCES[name]
    (tmp_path / 'first').mkdir()
    # Python's own modules may be closed to others, so all that is needed is imported before.
    convert(name, make(tmp_path / 'first'), converter)
    source = make(tmp_path)
    (source / 'closed').mkdir()
    (source / 'closed').chmod(0)
    tmp_path.chmod(0o777)
    with somebody_else(tmp_path):
        kept, report = convert(name, source, converter)
    assert kept == clips and 'closed' in report and 'Permission denied' in report


def test_one_odd_video_of_a_folder_to_predict(tmp_path, monkeypatch, capsys):
    import bharnet_mm.apis.inferencer as inferencer

    fake = BodyHandInferencer(FakeRecognizer(), backend=SquareEstimator())
    monkeypatch.setattr(inferencer, 'BodyHandInferencer', lambda *args, **options: fake)
    for name in 'ac':
        write_video(tmp_path / f'in/{name}.avi', [frame(160)] * 6)
    (tmp_path / 'in/b.avi').write_bytes(b'no video')
    os.mkfifo(tmp_path / 'in/d.avi')
    (tmp_path / 'in/e.avi').symlink_to('nowhere')
    with pytest.raises(SystemExit) as ended:
        cli.main(['predict', str(tmp_path / 'in'), '--json', str(tmp_path / 'a.json')])
    said = capsys.readouterr().err
    assert ended.value.code == 0 and said.count('refused ') == 3
    results = json.loads((tmp_path / 'a.json').read_text())['results']
    assert {Path(row['video']).name for row in results} == {'a.avi', 'c.avi'}
    for name in 'ac':
        (tmp_path / f'in/{name}.avi').unlink()
    with pytest.raises(SystemExit) as ended:
        cli.main(['predict', str(tmp_path / 'in'), '--json', str(tmp_path / 'b.json')])
    assert ended.value.code == 1 and 'b.avi: found' in capsys.readouterr().err
