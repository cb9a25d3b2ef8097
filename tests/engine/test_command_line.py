import argparse
import logging
import os
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from bharnet_mm.engine.arguments import add_common_arguments
from bharnet_mm.engine.command_line import (
    add_hook,
    build_runner,
    read_config,
    say_effective_batch,
    training_lock,
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


@pytest.fixture
def hardware(monkeypatch):
    """Says what the device is and whether it has units for bfloat16."""

    def have(device: str, bfloat16: bool) -> None:
        module = 'bharnet_mm.engine.command_line'
        monkeypatch.setattr(f'{module}.get_device', lambda: device)
        flags = 'flags : avx2 ' + ('avx512_bf16' if bfloat16 else '')
        monkeypatch.setattr(f'{module}.cpu_flags', lambda: flags)
        monkeypatch.setattr('torch.cuda.is_bf16_supported', lambda: bfloat16)

    return have


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
@pytest.mark.parametrize('given', [{}, dict(type='AmpOptimWrapper', loss_scale=8)])
def test_mixed_precision_is_bfloat16_without_a_loss_scale(hardware, device, given):
    hardware(device, True)
    cfg = wrapper_config(clip_grad=dict(max_norm=5), **given)
    use_mixed_precision(cfg)
    wanted = dict(optimizer=dict(type='SGD', lr=0.1), clip_grad=dict(max_norm=5))
    assert cfg.optim_wrapper.to_dict() == wanted | dict(type='BFloat16OptimWrapper')


@pytest.mark.parametrize('forced', [False, True])
def test_a_cpu_without_bfloat16_stays_in_float32_unless_forced(hardware, monkeypatch, forced):
    hardware('cpu', False)
    lines = []
    monkeypatch.setattr(
        'bharnet_mm.engine.command_line.print_log', lambda text, **_: lines.append(text)
    )
    cfg = wrapper_config(**(dict(type='BFloat16OptimWrapper') if forced else {}))
    use_mixed_precision(cfg)
    assert cfg.optim_wrapper.type == ('BFloat16OptimWrapper' if forced else 'OptimWrapper')
    assert ('stays in float32' in lines[0]) != forced


@pytest.mark.parametrize('given, bfloat16', [({}, False), (dict(dtype='float16'), True)])
def test_mixed_precision_in_float16_has_a_loss_scale(hardware, given, bfloat16):
    hardware('cuda', bfloat16)
    cfg = wrapper_config(**given)
    use_mixed_precision(cfg)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')


def test_precision_of_products_is_that_of_the_config(monkeypatch):
    monkeypatch.setattr('bharnet_mm.engine.command_line.Runner.from_cfg', lambda cfg: cfg)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        for precision in ('high', 'highest'):
            build_runner(Config(dict(env_cfg=dict(float32_matmul_precision=precision))))
            assert torch.get_float32_matmul_precision() == precision
            assert torch.backends.cudnn.allow_tf32 == (precision == 'high')
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


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


def test_one_training_a_work_folder(tmp_path, monkeypatch):
    cfg = Config(dict(work_dir=str(tmp_path / 'work'), launcher='none'))
    with training_lock(cfg):
        with pytest.raises(ConfigError, match='another training at work'):
            training_lock(cfg)
        monkeypatch.setenv('RANK', '1')  # a further process of the same training
        with training_lock(Config(dict(work_dir=cfg.work_dir, launcher='pytorch'))):
            pass
    training_lock(cfg).release()
