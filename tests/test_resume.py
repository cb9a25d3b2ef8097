"""A run that is killed and resumed is the run that never stopped."""

import json
import math
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from command import run_tool, scalars
from tiny_sample import BATCH_SIZE, TRAIN_CLIPS, write_tiny_sample

EPOCHS = 4
STEPS = math.ceil(TRAIN_CLIPS / BATCH_SIZE)  # an epoch
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


def test_killed_and_resumed(tmp_path):
    config = write_tiny_sample(tmp_path, epochs=EPOCHS)
    (tmp_path / 'pull_the_plug.py').write_text(KILLER)
    killed = tmp_path / 'killed.py'
    killed.write_text(
        f'_base_ = {str(config)!r}\n'
        "custom_imports = dict(imports=['bharnet_mm', 'pull_the_plug'])\n"
        "custom_hooks = [*_base_.custom_hooks, dict(type='PullThePlug')]\n"
    )

    def run_straight(work_dir):
        run_tool('train.py', config, '--work-dir', work_dir)
        return work_dir

    def run_broken(work_dir):
        plug = dict(status=-signal.SIGKILL, PYTHONPATH=str(tmp_path))
        run_tool('train.py', killed, '--work-dir', work_dir, **plug)
        assert (work_dir / 'epoch_2.pth').exists() and not (work_dir / 'epoch_3.pth').exists()
        run_tool('train.py', config, '--work-dir', work_dir, '--resume')
        return work_dir

    with ThreadPoolExecutor() as pool:
        straight = pool.submit(run_straight, tmp_path / 'straight')
        broken = pool.submit(run_broken, tmp_path / 'broken')
    straight, broken = straight.result(), broken.result()
    check_curves(straight, broken)
    check_weights(straight, broken)
    check_test(config, straight)


def curve(work_dir, key):
    """Step → value; of a step that was done twice, the later one counts."""
    return {line['step']: line[key] for line in scalars(work_dir) if key in line}


def check_curves(straight, broken):
    for key in ('loss', 'loss_body', 'loss_hand', 'loss_cpl', 'lr', 'grad_norm'):
        expected, found = curve(straight, key), curve(broken, key)
        assert len(expected) == STEPS * EPOCHS
        assert found == pytest.approx(expected, rel=1e-5), key
    assert curve(broken, 'acc/top1') == curve(straight, 'acc/top1')
    # Had every epoch drawn the same batches, the curves would agree for the wrong reason.
    assert len(set(curve(straight, 'loss_body').values())) == STEPS * EPOCHS


def check_weights(straight, broken):
    weights = [
        torch.load(work_dir / f'epoch_{EPOCHS}.pth', weights_only=True)['state_dict']
        for work_dir in (straight, broken)
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-5, atol=1e-6, msg=name)


def check_test(config, straight):
    """``tools/test.py`` gives the numbers that validation gave."""
    validated = [line for line in scalars(straight) if 'acc/top1' in line][-1]
    work_dir = straight.parent / 'test'
    run_tool('test.py', config, straight / f'epoch_{EPOCHS}.pth', '--work-dir', work_dir)
    (report,) = (f for f in work_dir.glob('*/*.json') if re.fullmatch(r'[\d_]+', f.stem))
    tested = json.loads(report.read_text())
    names = [name for name in validated if name.startswith('acc/')]
    assert {'acc/top1', 'acc/body_top1', 'acc/hand_top1'} <= set(names)
    assert {name: tested[name] for name in names} == {name: validated[name] for name in names}
