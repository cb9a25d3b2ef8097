"""A run that is killed and resumed is the run that never stopped."""

import json
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from command import run_tool, scalars
from tiny_sample import write_tiny_sample

EPOCHS = 4
KILLER = """
import os
import signal

from mmaction.registry import HOOKS
from mmengine.hooks import Hook


@HOOKS.register_module()
class PullThePlug(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.epoch == 2 and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Work dirs of a run without a break and of one killed within its third epoch, then resumed."""
    folder = tmp_path_factory.mktemp('resume')
    config = write_tiny_sample(folder, epochs=EPOCHS)
    (folder / 'pull_the_plug.py').write_text(KILLER)
    killed = folder / 'killed.py'
    killed.write_text(
        f'_base_ = {str(config)!r}\n'
        "custom_imports = dict(imports=['bharnet_mm', 'pull_the_plug'])\n"
        "custom_hooks = [*_base_.custom_hooks, dict(type='PullThePlug')]\n"
    )

    def run_straight(work_dir):
        run_tool('train.py', config, '--work-dir', work_dir)
        return work_dir

    def run_broken(work_dir):
        plug = dict(status=-signal.SIGKILL, PYTHONPATH=str(folder))
        run_tool('train.py', killed, '--work-dir', work_dir, **plug)
        assert (work_dir / 'epoch_2.pth').exists() and not (work_dir / 'epoch_3.pth').exists()
        run_tool('train.py', config, '--work-dir', work_dir, '--resume')
        return work_dir

    with ThreadPoolExecutor() as pool:
        straight = pool.submit(run_straight, folder / 'straight')
        broken = pool.submit(run_broken, folder / 'broken')
        return config, straight.result(), broken.result()


def curve(work_dir, key):
    """Step → value; of a step that was done twice, the later one counts."""
    return {line['step']: line[key] for line in scalars(work_dir) if key in line}


def test_curves_continue(runs):
    _, straight, broken = runs
    for key in ('loss', 'loss_body', 'loss_hand', 'loss_cpl', 'lr', 'grad_norm'):
        expected, found = curve(straight, key), curve(broken, key)
        assert len(expected) == 5 * EPOCHS
        assert found == pytest.approx(expected, rel=1e-5), key
    assert curve(broken, 'acc/top1') == curve(straight, 'acc/top1')


def test_batches_differ_between_epochs(runs):
    """Without which the curves of a resumed run would agree for the wrong reason."""
    losses = list(curve(runs[1], 'loss_body').values())
    assert len(set(losses)) == len(losses)


def test_weights_are_those_of_the_straight_run(runs):
    weights = [
        torch.load(run / f'epoch_{EPOCHS}.pth', weights_only=True)['state_dict'] for run in runs[1:]
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_test_gives_the_number_of_validation(runs):
    config, straight, _ = runs
    validated = [line for line in scalars(straight) if 'acc/top1' in line][-1]
    work_dir = straight.parent / 'test'
    run_tool('test.py', config, straight / f'epoch_{EPOCHS}.pth', '--work-dir', work_dir)
    (report,) = (f for f in work_dir.glob('*/*.json') if re.fullmatch(r'[\d_]+', f.stem))
    tested = json.loads(report.read_text())
    names = [name for name in validated if name.startswith('acc/')]
    assert {'acc/top1', 'acc/body_top1', 'acc/hand_top1'} <= set(names)
    assert {name: tested[name] for name in names} == {name: validated[name] for name in names}
