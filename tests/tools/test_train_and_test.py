"""The tools, ours and MMAction2's own, on a stock MMAction2 model."""

import re
import sys
from pathlib import Path

import mmaction
import pytest
import torch
from command import run, run_tool, scalars
from tiny_stock import write_tiny_stock

STOCK = Path(mmaction.__file__).parent / '.mim' / 'tools'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Folder with ``tiny.py`` and ``ours/epoch_1.pth`` of one epoch through ``tools/train.py``."""
    folder = tmp_path_factory.mktemp('stock_model')
    config = write_tiny_stock(folder)
    one_epoch = ('--cfg-options', 'train_cfg.max_epochs=1')
    run_tool('train.py', config, '--work-dir', folder / 'ours', '--seed', '7', *one_epoch)
    return folder


def validated(work_dir):
    return [line['acc/top1'] for line in scalars(work_dir) if 'acc/top1' in line]


def test_arguments_reach_the_run(trained):
    (used,) = (trained / 'ours').glob('*/vis_data/config.py')
    text = used.read_text()
    assert re.search(r'randomness = dict\([^)]*seed=7', text) and 'max_epochs=1' in text
    assert len(validated(trained / 'ours')) == 1


def test_stock_tools_with_custom_imports(trained):
    """MMAction2's scripts train, resume from our checkpoint and test, all loads being safe."""
    config, work_dir = trained / 'tiny.py', trained / 'stock'
    stock = (sys.executable, '-W', 'ignore')
    resume = ('--resume', trained / 'ours/epoch_1.pth')
    run(*stock, STOCK / 'train.py', config, '--work-dir', work_dir, *resume, cwd=trained)
    printed = run(*stock, STOCK / 'test.py', config, work_dir / 'epoch_2.pth', cwd=trained)
    assert f'acc/top1: {validated(work_dir)[-1]:.4f}' in printed


def test_checkpoint_of_another_model_is_refused(trained):
    checkpoint = torch.load(trained / 'ours/epoch_1.pth', weights_only=True)
    state = checkpoint['state_dict']
    checkpoint['state_dict'] = {f'encoder.{name}': value for name, value in state.items()}
    torch.save(checkpoint, trained / 'other.pth')
    arguments = (trained / 'tiny.py', trained / 'other.pth', '--work-dir', trained / 'refused')
    printed = run_tool('test.py', *arguments, status=1)
    assert re.search(r'found 0 of the \d+ parameters of RecognizerGCN', printed)
    assert 'encoder.backbone.' in printed and 'Fix: ' in printed


def test_mixed_precision_without_validation(tmp_path):
    config = write_tiny_stock(tmp_path)
    run_tool('train.py', config, '--work-dir', tmp_path / 'run', '--amp', '--no-validate')
    losses = [line['loss'] for line in scalars(tmp_path / 'run') if 'loss' in line]
    assert len(losses) == 6 and losses[-1] < losses[0]
    assert not validated(tmp_path / 'run')


def test_nan_in_a_clip_stops_the_run(tmp_path):
    config = write_tiny_stock(tmp_path, nan_clip='clip05')
    printed = run_tool('train.py', config, '--work-dir', tmp_path / 'run', status=1)
    error = printed.splitlines()[-1]
    assert re.search(r'^error: epoch 1, iteration \d, clips .*clip05', error)
    assert not list((tmp_path / 'run').glob('*.pth'))
