"""The Python scripts in README and docs run as they are written."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from command import ROOT, run

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
BLOCK = re.compile(r'^```python\n(.*?)^```', re.MULTILINE | re.DOTALL)
VIDEO = Path(os.environ.get('BHARNET_VIDEOS', ROOT.parent / 'shared/data/videos')) / 'thanks.mkv'
#: Of a page, those that import something and so are no parts of a config.
SCRIPTS = [
    pytest.param(text, id=f'{page.name} {i}')
    for page in PAGES
    for i, text in enumerate(BLOCK.findall(page.read_text(encoding='utf-8')))
    if text.startswith(('import ', 'from ')) and 'p.onnx' not in text  # tests/apis/test_export.py
]


@pytest.mark.long
@pytest.mark.parametrize('text', SCRIPTS)
def test_it_runs(text, tmp_path):
    """With a video in the place of the camera."""
    pytest.importorskip('mediapipe')
    if not VIDEO.exists():
        pytest.skip(f'no {VIDEO}')
    shutil.copy(VIDEO, tmp_path / 'video.mp4')
    script = tmp_path / 'script.py'
    script.write_text(text.replace('LiveSource(0)', "LiveSource('video.mp4')"), encoding='utf-8')
    said = run(sys.executable, '-W', 'ignore', script, cwd=tmp_path)
    assert said.strip() and 'Traceback' not in said
