"""The runner of the commands."""

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
