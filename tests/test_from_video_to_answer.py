"""The six commands of docs/own_data.md on real videos, as a user types them."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import cv2
import pytest
from command import ROOT, run

from bharnet_mm.datasets import ClipStore

VIDEOS = Path(os.environ.get('BHARNET_VIDEOS', ROOT.parent / 'shared' / 'data' / 'videos'))
WORDS = ('yes', 'thanks', 'milk')

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not all((VIDEOS / f'{word}.mkv').is_file() for word in WORDS),
        reason=f'no sign-language videos in {VIDEOS}; set BHARNET_VIDEOS',
    ),
]


def commands() -> dict[str, list[str]]:
    """The commands of the first block of docs/own_data.md, by name."""
    text = (ROOT / 'docs' / 'own_data.md').read_text()
    block = re.search(r'```bash\n(bharnet extract.*?)```', text, re.DOTALL)[1]
    lines = [line.split('#')[0].split() for line in block.splitlines() if line]
    return {words[1]: words[1:] for words in lines}


def write_part(source: Path, out: Path, first: int, mirrored: bool) -> None:
    """A video from its frame ``first`` on, perhaps mirrored: another clip of the same word."""
    out.parent.mkdir(parents=True, exist_ok=True)
    capture, writer, number = cv2.VideoCapture(str(source)), None, 0
    while True:
        there, image = capture.read()
        if not there:
            break
        if number >= first:
            image = image[:, ::-1].copy() if mirrored else image
            if writer is None:
                size = image.shape[1::-1]
                writer = cv2.VideoWriter(str(out), cv2.VideoWriter_fourcc(*'MJPG'), 25, size)
            writer.write(image)
        number += 1
    writer.release()


def test_six_commands(tmp_path):
    for word in WORDS:
        for i in range(4):
            name = tmp_path / 'videos' / word / f'{i}.avi'
            write_part(VIDEOS / f'{word}.mkv', name, 2 * i, mirrored=i % 2 == 1)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    shutil.copy(VIDEOS / 'milk.mkv', tmp_path / 'new.mp4')  # readers look at the content
    typed = commands()
    assert list(typed) == ['extract', 'doctor', 'train', 'test', 'predict', 'live']
    bharnet = (sys.executable, '-W', 'ignore', '-m', 'bharnet_mm')

    run(*bharnet, *typed['extract'], cwd=tmp_path)
    store = ClipStore(tmp_path / 'data/own')
    assert len(store) == 12 and set(store.classes) == set(WORDS)
    assert len(store.select('own_test')) == 3

    run(*bharnet, *typed['doctor'], cwd=tmp_path)

    lines = run(*bharnet, *typed['train'], cwd=tmp_path).splitlines()
    first = next(i for i, line in enumerate(lines) if re.search(r'epoch\D*1\b', line, re.I))
    assert first <= 15, '\n'.join(lines[: first + 1])

    printed = run(*bharnet, *typed['test'], cwd=tmp_path)
    assert 'top1' in printed

    run(*bharnet, *typed['predict'], '--json', 'new.json', cwd=tmp_path)
    results = json.loads((tmp_path / 'new.json').read_text())['results']
    assert results[0]['labels'][0]['label'] in WORDS
    assert (tmp_path / 'new_annotated.mp4').stat().st_size > 10_000

    live = [word if word != '0' else 'new.mp4' for word in typed['live']]
    more = ('--no-display', '--stats', 'live.json', '--seconds', '20')
    printed = run(*bharnet, *live, *more, cwd=tmp_path)
    statistics = json.loads((tmp_path / 'live.json').read_text())
    assert statistics['frames'] > 5 and 'statistics' in printed.splitlines()[-1]
