"""The documentation site builds without a warning, and its figure is what its script draws."""

import os
import subprocess
import sys

from command import ROOT


def test_site_builds(tmp_path):
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(tmp_path)]
    environment = os.environ | {'NO_MKDOCS_2_WARNING': '1'}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / 'reference' / 'models' / 'index.html').read_text(encoding='utf-8')
    assert 'bharnet_mm.models.BHaRNetHead' in page


def test_figure_is_what_the_script_draws(tmp_path):
    out = tmp_path / 'architecture.svg'
    subprocess.run([sys.executable, ROOT / 'tools/docs/architecture.py', str(out)], check=True)
    assert out.read_bytes() == (ROOT / 'docs/images/architecture.svg').read_bytes()
