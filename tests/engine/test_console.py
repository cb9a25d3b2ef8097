"""The runner of the commands."""

import time

import pytest
import toy_training
from toy_training import make_runner

from bharnet_mm.engine.console import ConsoleRunner


def test_a_run_that_fails_at_its_start_keeps_the_folders_config(tmp_path, monkeypatch):
    monkeypatch.setattr(toy_training, 'Runner', ConsoleRunner)
    hooks = dict(custom_hooks=[dict(type='ConsoleHook')])
    runner = make_runner(tmp_path, 'fails', **hooks)
    runner._train_loop['type'] = 'NoSuchLoop'
    with pytest.raises(KeyError):
        runner.train()
    assert not list(tmp_path.glob('*.py'))
    make_runner(tmp_path, 'trains', **hooks).train()
    assert len(list(tmp_path.glob('*.py'))) == 1


def test_two_runs_in_the_same_second_have_their_own_logs(tmp_path, monkeypatch):
    monkeypatch.setattr(toy_training, 'Runner', ConsoleRunner)
    monkeypatch.setattr(time, 'strftime', lambda *args: '20260101_000000')
    for name in ('first', 'second'):
        runner = make_runner(tmp_path / name, 'same')
        runner.logger.warning(f'log of the {name}')
        runner.message_hub.update_scalar('train/loss', 1.0)
    for name in ('first', 'second'):
        (log,) = (tmp_path / name).rglob('*.log')
        assert f'log of the {name}' in log.read_text()
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 1
