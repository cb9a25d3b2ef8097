import argparse
import logging
import os
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.device import get_device

from bharnet_mm.engine.command_line import (
    add_common_arguments,
    add_hook,
    read_config,
    say_effective_batch,
    use_mixed_precision,
)
from bharnet_mm.errors import ConfigError


@pytest.fixture
def parse(tmp_path, monkeypatch):
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    (tmp_path / 'small.py').write_text('model = dict(b=1, c=[1, 2])\n')
    (tmp_path / 'placed.py').write_text('work_dir = "here"\n')

    def parse(name, *words):
        parser = argparse.ArgumentParser()
        parser.add_argument('config')
        add_common_arguments(parser)
        return read_config(parser.parse_args([str(tmp_path / name), *words]))

    return parse


def test_work_dir(parse):
    assert parse('small.py').work_dir == os.path.join('work_dirs', 'small')
    assert parse('placed.py').work_dir == 'here'
    assert parse('placed.py', '--work-dir', 'there').work_dir == 'there'


def test_overrides_and_launcher(parse):
    options = ('model.b=3', 'model.c=[4,5]')
    cfg = parse('small.py', '--cfg-options', *options, '--launcher', 'pytorch')
    assert (cfg.model.b, cfg.model.c, cfg.launcher) == (3, [4, 5], 'pytorch')


@pytest.mark.parametrize('spelling', ['--local_rank', '--local-rank'])
def test_local_rank(parse, spelling):
    parse('small.py', spelling, '3')
    assert os.environ['LOCAL_RANK'] == '3'


def wrapper_config(**kwargs):
    return Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), **kwargs)))


@pytest.mark.skipif(get_device() != 'cpu', reason='what the CPU gets')
@pytest.mark.parametrize('given', [{}, dict(type='AmpOptimWrapper', dtype='float16', loss_scale=8)])
def test_mixed_precision_on_cpu(given):
    cfg = wrapper_config(clip_grad=dict(max_norm=5), **given)
    use_mixed_precision(cfg)
    wanted = dict(optimizer=dict(type='SGD', lr=0.1), clip_grad=dict(max_norm=5))
    assert cfg.optim_wrapper.to_dict() == wanted | dict(type='BFloat16OptimWrapper')


def test_mixed_precision_on_gpu(monkeypatch):
    monkeypatch.setattr('bharnet_mm.engine.command_line.get_device', lambda: 'cuda')
    cfg = wrapper_config(dtype='bfloat16')
    use_mixed_precision(cfg)
    wrapper = cfg.optim_wrapper
    assert (wrapper.type, wrapper.dtype, wrapper.loss_scale) == (
        'AmpOptimWrapper',
        'bfloat16',
        'dynamic',
    )


def test_mixed_precision_with_another_wrapper():
    with pytest.raises(ConfigError, match='ApexOptimWrapper.*Fix: drop --amp'):
        use_mixed_precision(wrapper_config(type='ApexOptimWrapper'))


class Told(logging.Handler):
    def __init__(self):
        super().__init__()
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


@pytest.mark.parametrize(
    'processes, batch, steps, said',
    [
        (1, 64, 1, []),
        (8, 8, 1, []),
        (2, 16, 2, []),
        (
            8,
            64,
            1,
            ['is 512 (64 clips x 8 processes)', 'for 64', '--auto-scale-lr', 'size=8 keeps'],
        ),
        (1, 4, 1, ['is 4 (4 clips)', 'size=64 keeps']),
        (3, 64, 1, ['is 192', 'no whole batch size']),
    ],
)
def test_effective_batch_is_said(processes, batch, steps, said, monkeypatch):
    monkeypatch.setattr('bharnet_mm.engine.command_line.get_world_size', lambda: processes)
    cfg = Config(
        dict(
            train_dataloader=dict(batch_size=batch),
            auto_scale_lr=dict(enable=False, base_batch_size=64),
            optim_wrapper=dict(accumulative_counts=steps),
        )
    )
    told = Told()
    logger = logging.getLogger('effective_batch')
    logger.addHandler(told)
    say_effective_batch(SimpleNamespace(cfg=cfg, logger=logger))
    assert len(told.said) == bool(said)
    assert all(part in told.said[0] for part in said)
    cfg.auto_scale_lr.enable = True
    say_effective_batch(SimpleNamespace(cfg=cfg, logger=logger))
    assert len(told.said) == bool(said)
    logger.removeHandler(told)


def test_hook_of_the_config_wins():
    cfg = Config(dict())
    add_hook(cfg, dict(type='A', x=1))
    add_hook(cfg, dict(type='A', x=2))
    add_hook(cfg, dict(type='B'))
    assert [hook.to_dict() for hook in cfg.custom_hooks] == [dict(type='A', x=1), dict(type='B')]
