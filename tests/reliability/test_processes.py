"""Whole commands: hostile addresses, several processes, and what SIGKILL leaves of them."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from command import ROOT, environment, run, run_tool
from hostile import Shell, saved, serve
from test_distributed import free_port
from tiny_export import write_untrained
from tiny_sample import write_tiny_sample

from bharnet_mm.evaluation import load_scores


@pytest.fixture
def server(tmp_path, monkeypatch):
    yield from serve(tmp_path, monkeypatch)


@pytest.fixture(scope='module')
def untrained(tmp_path_factory):
    return write_untrained(tmp_path_factory.mktemp('untrained'))


def test_a_hostile_checkpoint_by_its_address(server, untrained, tmp_path):
    config, checkpoint = untrained
    made = tmp_path / 'made'
    state = torch.load(checkpoint, weights_only=True)
    server.files['/x.pth'] = saved(state | {'more': Shell(made)})
    address = f'{server.address}/x.pth'
    arguments = ('test.py', config, address, '--work-dir', tmp_path / 'w')
    printed = run_tool(*arguments, '--dump', tmp_path / 's.npz', status=1)
    assert printed.splitlines()[-1].startswith(f'error: {address}: found')
    assert 'Traceback' not in printed and server.requests == ['/x.pth']
    assert not made.exists() and not (tmp_path / 's.npz').exists()


@pytest.mark.long
def test_scores_of_one_and_of_several_processes(untrained, tmp_path):
    config, checkpoint = untrained
    files = {}
    for count in (1, 2, 4):
        files[count] = tmp_path / f'{count}.npz'
        words = (config, checkpoint, count, '--work-dir', tmp_path / f'w{count}')
        run('tools/dist_test.sh', *words, '--dump', files[count], PORT=str(free_port()))
    one = load_scores(files[1])
    for count in (2, 4):
        other = load_scores(files[count])
        assert other.clip_id.tolist() == one.clip_id.tolist()  # each clip once, in the same order
        assert other.label.tolist() == one.label.tolist() and other.facts == one.facts
        for name, logits in one.logits.items():
            gap = np.abs(other.logits[name] - logits).max()
            print(f'{count} processes, {name}: {gap:.2g} of {np.abs(logits).max():.2g}')
            assert gap <= 1e-5 * np.abs(logits).max(), name


@pytest.mark.long
def test_a_killed_comparison_leaves_no_process_and_goes_on(tmp_path):
    config = write_tiny_sample(tmp_path, epochs=2)
    more = ['--field', 'camera', '--folds', '1', '2', '--jobs', '2']
    whole = ['analysis/compare.py', config, '--out', tmp_path / 'whole', *more]
    run_tool(*whole)
    command = [sys.executable, '-W', 'ignore', 'tools/analysis/compare.py', config]
    command += ['--out', tmp_path / 'out', *more]
    for _ in range(2):
        started = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seen = len(list((tmp_path / 'out').rglob('*.pth')))
        while len(list((tmp_path / 'out').rglob('*.pth'))) == seen and started.poll() is None:
            time.sleep(0.01)
        children = psutil.Process(started.pid).children(recursive=True)
        started.send_signal(signal.SIGKILL)
        assert started.wait() in (0, -signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive, 'trainings that outlive the one that started them'
    run_tool('analysis/compare.py', *command[4:])
    found = sorted((tmp_path / 'out').rglob('scores.npz'))
    assert len(found) == 2
    for file in found:
        unbroken = load_scores(tmp_path / 'whole' / file.relative_to(tmp_path / 'out'))
        for name, logits in load_scores(file).logits.items():
            np.testing.assert_array_equal(logits, unbroken.logits[name])
        assert len(list(file.parent.glob('epoch_2.pth'))) == 1
        assert not list(file.parent.glob('.*.partial'))


@pytest.mark.long
def test_nothing_is_left_of_a_killed_extraction_with_workers(tmp_path):
    """``bharnet extract`` as a user starts it; its workers end when it is killed."""
    from subjects import BACKEND, moving, write_video

    for i in range(4):
        write_video(tmp_path / f'videos/a/{i}.avi', moving(40, seed=i))
    places = [ROOT, ROOT / 'tests', ROOT / 'tests/datasets/extraction']
    command = [sys.executable, '-W', 'ignore', 'tools/data/extract_hands.py', tmp_path / 'videos']
    command += [tmp_path / 'out', '--backend', BACKEND, '--workers', '2']
    started = subprocess.Popen(
        [str(word) for word in command],
        cwd=ROOT,
        env=environment(PYTHONPATH=os.pathsep.join(map(str, places))),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process, children = psutil.Process(started.pid), []
    while len(children) < 3 and started.poll() is None:
        time.sleep(0.01)
        children = process.children(recursive=True)
    started.send_signal(signal.SIGKILL)
    assert started.wait() in (0, -signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
