import os
import resource
import subprocess
import sys

import pytest
from somebody import needs_root, somebody_else

from bharnet_mm.cli import COMMANDS


def bharnet(*words, seconds=None):
    """Exit status, output and error of the command; fails if it takes more CPU time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, '-m', 'bharnet_mm', *words],
        capture_output=True,
        text=True,
        env=os.environ | {'OMP_NUM_THREADS': '1'},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(words, f'{used:.2f} s of processor time')
    return done.returncode, done.stdout, done.stderr


def test_help_names_every_command():
    status, out, _ = bharnet('--help')
    assert status == 0 and all(f'  {name} ' in out for name in COMMANDS)
    assert bharnet()[0] == 2
    status, _, err = bharnet('no_such')
    assert status == 1 and err.strip().endswith("error: no command 'no_such'")


@pytest.mark.parametrize('command', ['predict', 'train', 'test', 'models', 'publish'])
def test_help_imports_nothing_heavy(command):
    code = (
        'import sys\n'
        'from bharnet_mm.cli import run_module\n'
        'try:\n'
        f'    run_module({command!r}, ["--help"])\n'
        'except SystemExit as end:\n'
        '    assert not end.code, end.code\n'
        'heavy = {"torch", "mmengine", "mmaction", "mediapipe", "av", "decord"}\n'
        'heavy &= set(sys.modules)\n'
        'assert not heavy, heavy'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'usage: bharnet {command}' in done.stdout


def test_python_m_is_the_command():
    status, out, _ = bharnet('--version')
    assert status == 0 and out.startswith('bharnet_mm ')


def test_models():
    status, out, _ = bharnet('models')
    assert status == 0 and '\n  bharnet_p\n' in out and '\n  bharnet_p_ntu60\n' in out
    status, out, _ = bharnet('models', 'bharnet_p_ntu60')
    assert out.strip().endswith('bharnet_p_ntu60.py')


@pytest.mark.parametrize(
    'words, message',
    [
        (('models', 'bharnet_q'), "did you mean 'bharnet_"),
        (('predict', 'no_such.mp4'), 'no_such.mp4: found no such file or folder'),
        (('train', 'no_such.py'), 'no_such.py: found no such file'),
        (('train', 'bharnet_p_asl10', '--cfg-options', 'data_root=nowhere'), 'nowhere/asl10'),
    ],
)
def test_error_is_the_last_line(words, message):
    status, out, err = bharnet(*words)
    assert status == 1 and 'Traceback' not in err
    assert err.strip().splitlines()[-1].startswith('error: ') and message in err


def test_a_reader_that_closes_the_pipe_ends_a_command_quietly():
    """As in `bharnet models | head -1`; another broken pipe is an error."""
    code = (
        'from bharnet_mm.io.command import run_command\n'
        'def command():\n'
        '    for i in range(100_000):\n'
        '        print(i)\n'
        'run_command(command, debug=False)'
    )
    words = [sys.executable, '-c', code]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as done:
        assert done.stdout.readline() == '0\n'
        done.stdout.close()
        assert done.stderr.read() == '' and done.wait() == 141
    code = code.replace('print(i)', 'raise BrokenPipeError(32, "a worker")')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == 'error: a worker\n'


def test_debug_shows_the_traceback():
    status, _, err = bharnet('models', 'bharnet_q', '--debug')
    assert status == 1 and 'Traceback' in err


def test_what_cannot_be_written_is_said_before_the_work(tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('keep')
    store = tmp_path / 'no_store'
    for words, message in (
        (('predict', store, '--json', tmp_path / 'folder'), 'folder: found a folder'),
        (('doctor', store, '--html', tmp_path / 'file/a.html'), 'found no folder at'),
        (('publish', store, '--out', tmp_path / 'file/a.safetensors'), 'found no folder at'),
    ):
        status, _, err = bharnet(*map(str, words))
        assert status == 2 and message in err and 'Traceback' not in err
    assert (tmp_path / 'file').read_text() == 'keep'


@needs_root
def test_without_the_right_to_write(tmp_path):
    import argparse

    from bharnet_mm.io.outputs import output_file

    with (
        somebody_else(tmp_path),
        pytest.raises(argparse.ArgumentTypeError, match='no right to write in'),
    ):
        output_file(str(tmp_path / 'new/a.json'))
    assert output_file(str(tmp_path / 'new/a.json')) == tmp_path / 'new/a.json'
