"""A training can be stopped anywhere and goes on exactly."""

import itertools
import os
import re
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from command import run
from toy_training import EPOCHS, STEPS, make_runner

from bharnet_mm.engine.checkpoint_hook import CheckpointHook, names_of_metrics
from bharnet_mm.engine.resume import newest_checkpoint
from bharnet_mm.errors import BHaRNetError, CheckpointError, ConfigError
from bharnet_mm.evaluation import BodyHandMetric
from bharnet_mm.io import atomic

NAMES = itertools.count()


def train(work_dir, **options):
    runner = make_runner(work_dir, f'toy{next(NAMES)}', **options)
    runner.train()
    return runner


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def same(first, second):
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp('straight')
    train(folder / 'epochs')
    train(folder / 'iterations', by_epoch=False)
    return folder


def test_what_an_unbroken_run_leaves(straight):
    names = {path.name for path in (straight / 'epochs').glob('*.pth')}
    assert names == {'epoch_3.pth', 'epoch_4.pth', 'best_top1_epoch_2.pth'}
    meta = torch.load(straight / 'epochs/epoch_4.pth', weights_only=True)['meta']
    assert (meta['processes'], meta['iterations_an_epoch']) == (1, STEPS)


class Killed(BaseException):
    pass


@pytest.mark.parametrize('before', range(1, 16, 2))
def test_killed_at_a_replacement(before, straight, tmp_path, monkeypatch):
    """A loadable checkpoint is there at any time; the resumed run ends as the unbroken one."""
    count, real = itertools.count(1), os.replace

    def replace(source, target):
        if next(count) == before:
            raise Killed
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, 'replace', replace)
        try:
            train(tmp_path)
        except Killed:
            pass
    for path in tmp_path.glob('*.pth'):
        weights(path)
    found = newest_checkpoint(tmp_path)
    train(tmp_path, resume=found)
    assert same(tmp_path / f'epoch_{EPOCHS}.pth', straight / f'epochs/epoch_{EPOCHS}.pth')
    best = list(tmp_path.glob('best_*.pth'))
    assert [path.name for path in best] == ['best_top1_epoch_2.pth']
    assert same(best[0], straight / 'epochs/best_top1_epoch_2.pth')


def test_killed_before_the_outdated_one_is_removed(straight, tmp_path, monkeypatch):
    def killed(hook, step):
        if step is not None:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointHook, '_remove_outdated', killed)
        with pytest.raises(Killed):
            train(tmp_path)
    assert (tmp_path / 'epoch_1.pth').exists()
    train(tmp_path, resume=newest_checkpoint(tmp_path))
    left = sorted(path.name for path in tmp_path.glob('*.pth'))
    assert left == sorted(path.name for path in (straight / 'epochs').glob('*.pth'))


def test_the_old_best_stays_until_the_new_one_is_there(tmp_path, monkeypatch):
    seen, real = [], os.replace

    def replace(source, target):
        seen.append(len(list(tmp_path.glob('best_*.pth'))))
        real(source, target)

    monkeypatch.setattr(atomic.os, 'replace', replace)
    train(tmp_path)
    first = seen.index(1)
    assert all(seen[first:]) and len(list(tmp_path.glob('best_*.pth'))) == 1


@pytest.mark.parametrize('step', [1, STEPS - 1, STEPS, STEPS + 2])
def test_resumed_in_the_middle_of_an_epoch(step, straight, tmp_path):
    train(tmp_path, by_epoch=False, resume=straight / f'iterations/iter_{step}.pth')
    last = f'iter_{EPOCHS * STEPS}.pth'
    assert same(tmp_path / last, straight / 'iterations' / last)
    assert not (tmp_path / f'iter_{EPOCHS * STEPS + 1}.pth').exists()


def test_a_best_metric_that_the_evaluation_does_not_give(tmp_path):
    """The toy's names are not known before; the checkpoint of the epoch stays."""
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best='top2'))
    with pytest.raises(ConfigError, match="'top2', which the evaluation does not give.*'top1'"):
        train(tmp_path, default_hooks=hooks)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


@pytest.mark.parametrize(
    'name, refused', [('acc/hand_top1', None), ('acc/fused_top1', None), ('acc/nothing', 'one of')]
)
def test_a_best_metric_is_compared_with_the_names_before_the_training(name, refused):
    """Where all metrics of the evaluation tell them."""
    hook = CheckpointHook(save_best=name)
    head = SimpleNamespace(scored=('body', 'hand', 'fused'))
    evaluator = SimpleNamespace(metrics=[BodyHandMetric()])
    runner = SimpleNamespace(
        model=SimpleNamespace(cls_head=head), val_loop=SimpleNamespace(evaluator=evaluator)
    )
    with pytest.raises(ConfigError, match=refused) if refused else nullcontext():
        hook.check_save_best(names_of_metrics(runner))
    evaluator.metrics.append(object())
    assert names_of_metrics(runner) == set()


def test_the_least_calibration_error_is_the_best():
    """Although the metric is named acc/ece, and MMEngine looks for acc in names."""
    assert CheckpointHook(save_best=['acc/ece', 'acc/top1']).rules == ['less', 'greater']
    with pytest.raises(ConfigError, match="rule='greater'"):
        CheckpointHook(save_best='quality')


def test_a_checkpoint_that_vanishes_before_it_is_loaded(tmp_path):
    """Named in an error; the next attempt goes on from the one before."""
    train(tmp_path)
    newest = newest_checkpoint(tmp_path)
    newest.unlink()
    with pytest.raises(CheckpointError, match=f'{newest.name}: found no such file'):
        train(tmp_path, resume=newest)
    assert newest_checkpoint(tmp_path).name == f'epoch_{EPOCHS - 1}.pth'


def test_a_copied_run_goes_on_from_its_own_checkpoint(straight, tmp_path):
    """Although the pointer names that of the original, which is still there."""
    shutil.copytree(straight / 'epochs', tmp_path / 'copy')
    assert newest_checkpoint(tmp_path / 'copy') == tmp_path / f'copy/epoch_{EPOCHS}.pth'


def change_meta(path, new, **changes):
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['meta'].update(changes)
    torch.save(checkpoint, new)
    return new


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(processes=4), 'processes: 4; expected 1'),
        (dict(iterations_an_epoch=9), 'iterations an epoch: 9; expected 4'),
        (dict(iter=99), '1 epochs and 99 iterations'),
    ],
)
def test_another_run_is_refused(changes, message, straight, tmp_path):
    old = straight / 'iterations/iter_5.pth'
    path = change_meta(old, tmp_path / 'x.pth', **changes)
    with pytest.raises(CheckpointError, match=message):
        train(tmp_path, by_epoch=False, resume=path)


def test_weights_alone_cannot_be_resumed(straight, tmp_path):
    with pytest.raises(CheckpointError, match='weights only'):
        train(tmp_path, resume=straight / 'epochs/best_top1_epoch_2.pth')


def test_a_moved_folder_and_a_torn_checkpoint(straight, tmp_path, capsys):
    moved = shutil.copytree(straight / 'epochs', tmp_path / 'moved')
    (moved / 'last_checkpoint').write_text('/no/such/folder/epoch_4.pth')
    assert newest_checkpoint(moved) == moved / 'epoch_4.pth'
    (moved / 'epoch_4.pth').write_bytes((moved / 'epoch_4.pth').read_bytes()[:999])
    assert newest_checkpoint(moved) == moved / 'epoch_3.pth'
    for damaged in (b'\xff\xfe', b'', b'\0'):
        (moved / 'last_checkpoint').write_bytes(damaged)
        assert newest_checkpoint(moved) == moved / 'epoch_3.pth'
    (moved / 'last_checkpoint').unlink()
    train(moved, resume=newest_checkpoint(moved))
    assert same(moved / 'epoch_4.pth', straight / 'epochs/epoch_4.pth')
    for path in moved.glob('epoch_*.pth'):
        path.write_bytes(b'')
    with pytest.raises(CheckpointError, match='no checkpoint that loads'):
        newest_checkpoint(moved)
    assert newest_checkpoint(tmp_path) is None


def test_weights_that_became_nan_in_the_last_step_are_not_saved(straight, tmp_path):
    with pytest.raises(BHaRNetError, match='updated weights or statistics') as error:
        train(tmp_path, poison=2 * STEPS)
    assert 'epoch 2, iteration 4' in str(error.value) and 'fc.weight' in str(error.value)
    assert {path.name for path in tmp_path.glob('epoch_*')} == {'epoch_1.pth'}
    with pytest.raises(CheckpointError, match='not finite'):  # without the guard's hook
        train(tmp_path / 'other', poison=2 * STEPS, custom_hooks=[dict(type='EpochSeedHook')])
    assert weights(tmp_path / 'other/epoch_1.pth')
    assert not (tmp_path / 'other/epoch_2.pth').exists()
    train(tmp_path, resume=newest_checkpoint(tmp_path))
    assert same(tmp_path / 'epoch_4.pth', straight / 'epochs/epoch_4.pth')


def test_a_full_disk_keeps_the_last_checkpoint(small_disk, straight):
    (small_disk / 'filler').write_bytes(bytes((1 << 20) - (100 << 10)))
    with pytest.raises(BHaRNetError, match='No space left'):
        train(small_disk, by_epoch=False)
    found = newest_checkpoint(small_disk)
    assert found is not None and weights(found)
    assert not list(small_disk.glob('.*.partial'))


@pytest.mark.long
def test_nan_on_one_rank_of_two(tmp_path):
    """Gradients are shared, so both processes stop in that iteration, and nothing bad is saved. The
    message names the process whose loss it was, and its clips.
    """
    script = Path(__file__).with_name('nan_on_one_rank.py')
    launch = [sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run', '--nproc_per_node=2']
    places = os.pathsep.join(map(str, (script.parent, script.parents[1])))
    free = f'--master_port={29600 + os.getpid() % 300}'
    printed = run(*launch, free, script, tmp_path, status=1, PYTHONPATH=places)
    clips = re.search('POISONED (.+)', printed)[1].replace(' ', ', ')
    first, second = (f'process {rank} of 2 (counted from 0), epoch' for rank in (0, 1))
    [line] = set(re.findall(f'{re.escape(second)}.*', printed))
    assert f'clips {clips}: found a loss that is not finite' in line
    [line] = set(re.findall(f'{re.escape(first)}.*', printed))
    assert 'updated weights or statistics that are not finite' in line
    assert 'the losses of this process are finite' in line
    assert newest_checkpoint(tmp_path).name == 'iter_5.pth'
