"""Values of a GPU are looked at one step later; here the values of the CPU stand for them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toy_training import STEPS, make_runner

from bharnet_mm.engine import NonFiniteGuardHook, RuntimeInfoHook
from bharnet_mm.engine.one_step_later import OneStepLater
from bharnet_mm.errors import BHaRNetError


@pytest.fixture
def on_a_gpu(monkeypatch):
    """Treats the CPU as a device for which the host would have to wait."""
    monkeypatch.setattr(OneStepLater, 'devices', ('cpu',))


def logs(runner):
    (path,) = Path(runner.log_dir).rglob('scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def train(folder, name, **options):
    runner = make_runner(folder, name, **options)
    runner.train()
    return runner


def test_values_are_looked_at_when_the_next_ones_come(on_a_gpu):
    seen, hook = [], OneStepLater()
    values = torch.ones(2)
    for i in range(3):
        values.fill_(i)  # as a recording overwrites its results
        hook.later(values, lambda x: seen.append(x.tolist()))
        assert len(seen) == i
    hook.look()
    hook.look()
    assert seen == [[0, 0], [1, 1], [2, 2]]


def test_values_of_the_host_are_looked_at_at_once():
    seen, hook = [], OneStepLater()
    hook.later(torch.ones(2), lambda x: seen.append(x.tolist()))
    assert seen == [[1, 1]]


@pytest.mark.parametrize('interval', [1, 3, 100])
def test_logs_and_checkpoints_are_those_of_a_host_that_waits(tmp_path, monkeypatch, interval):
    found = []
    hooks = dict(logger=dict(type='LoggerHook', interval=interval, ignore_last=False))
    hooks['checkpoint'] = dict(type='CheckpointHook', interval=1, max_keep_ckpts=2)
    for name, devices in (('waits', ()), ('later', ('cpu',))):
        monkeypatch.setattr(OneStepLater, 'devices', devices)
        runner = train(tmp_path / name, f'{name}_{interval}', default_hooks=hooks)
        kept = torch.load(tmp_path / name / 'epoch_4.pth', weights_only=False)['message_hub']
        scalars = kept['log_scalars'] if isinstance(kept, dict) else kept.log_scalars
        losses = scalars['train/loss'].data[0].tolist()
        lines = [
            {key: value for key, value in line.items() if key in ('loss', 'step', 'epoch', 'iter')}
            for line in logs(runner)
        ]
        found.append((losses, lines))
    assert len(found[0][0]) == 4 * STEPS
    assert found[0] == found[1]


def test_checkpoints_by_iteration_have_the_last_loss(tmp_path, on_a_gpu):
    train(tmp_path, 'iterations', by_epoch=False, interval=3)
    kept = torch.load(tmp_path / 'iter_6.pth', weights_only=False)['message_hub']
    scalars = kept['log_scalars'] if isinstance(kept, dict) else kept.log_scalars
    assert len(scalars['train/loss'].data[0]) == 6


@pytest.mark.parametrize('call', range(2, 4 * STEPS + 1))
def test_poisoned_weights_are_found_before_they_are_saved(tmp_path, on_a_gpu, call):
    runner = make_runner(tmp_path, 'poisoned', poison=call)
    with pytest.raises(BHaRNetError) as error:
        runner.train()
    epoch, iteration = divmod(call - 1, STEPS)
    assert f'epoch {epoch + 1}, iteration {iteration + 1}, clips' in str(error.value)
    for path in tmp_path.glob('*.pth'):
        weights = torch.load(path, weights_only=False)['state_dict']
        assert all(torch.isfinite(value).all() for value in weights.values())


def test_the_step_itself_is_named_though_the_next_one_ran(on_a_gpu):
    hook, runner = NonFiniteGuardHook(), SimpleNamespace(epoch=0)
    hook.after_train_iter(runner, 0, None, dict(loss=torch.tensor(float('nan'))))
    with pytest.raises(BHaRNetError, match='epoch 1, iteration 1.*loss = nan'):
        hook.after_train_iter(runner, 1, None, dict(loss=torch.tensor(1.0)))


def test_mmengine_finds_our_hook():
    from mmaction.registry import HOOKS

    assert HOOKS.get('RuntimeInfoHook') is RuntimeInfoHook
