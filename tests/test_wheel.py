"""The wheel by itself: built from the checkout and used where the checkout is not on the path."""

import os
import resource
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from command import ROOT

VIDEO = Path(os.environ.get('BHARNET_VIDEOS', ROOT.parent / 'shared/data/videos')) / 'yes.mkv'

pytestmark = pytest.mark.long


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A virtual environment with the wheel and, of this one, the site-packages only."""
    folder = tmp_path_factory.mktemp('wheel')
    copy = folder / 'copy'
    kept = shutil.ignore_patterns('.git', '.venv', 'data', 'work_dirs', '__pycache__', 'site')
    shutil.copytree(ROOT, copy, ignore=kept)
    pip = [sys.executable, '-m', 'pip']
    options = ['--no-deps', '--no-build-isolation', '--no-index', '-q']
    subprocess.run([*pip, 'wheel', *options, '-w', folder, '.'], cwd=copy, check=True)
    (wheel,) = folder.glob('*.whl')
    shutil.rmtree(copy)
    venv.create(folder / 'venv', with_pip=False)
    (site,) = (folder / 'venv').glob('lib/python*/site-packages')
    subprocess.run([*pip, 'install', *options, '--target', site, wheel], check=True)
    others = [path for path in sys.path if Path(path).name in ('site-packages', 'dist-packages')]
    (site / 'others.pth').write_text('\n'.join(others) + '\n')
    return folder


def call(installed, *words, seconds=None):
    """What ``bharnet`` prints; fails if it takes more CPU seconds."""
    python = installed / 'venv' / 'bin' / 'python'
    variables = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [python, '-W', 'ignore', '-c', 'from bharnet_mm.cli import main; main()', *words],
        cwd=installed,
        env=variables | {'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(words, f'{used:.2f} s of processor time')
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_it_is_the_wheel_that_runs(installed):
    python = installed / 'venv' / 'bin' / 'python'
    code = 'import bharnet_mm; print(bharnet_mm.__file__)'
    variables = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    path = subprocess.check_output([python, '-c', code], cwd=installed, env=variables, text=True)
    assert str(installed / 'venv') in path


def test_commands_of_the_wheel(installed):
    assert 'predict' in call(installed, '--help')
    assert 'bharnet_light_asl10' in call(installed, 'models')
    configs = call(installed, 'models', 'bharnet_p_ntu60').strip()
    assert str(installed / 'venv') in configs and '.mim/configs' in configs


@pytest.mark.skipif(not VIDEO.is_file(), reason=f'no {VIDEO}; set BHARNET_VIDEOS')
def test_the_shipped_model_answers(installed):
    printed = call(installed, 'predict', str(VIDEO))
    assert 'yes' in printed
