import argparse
import os

import pytest
from mmengine.config import Config
from mmengine.device import get_device

from bharnet_mm.engine.command_line import (
    add_common_arguments,
    add_hook,
    read_config,
    use_mixed_precision,
)
from bharnet_mm.errors import ConfigError


@pytest.fixture
def parse(tmp_path, monkeypatch):
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    (tmp_path / 'small.py').write_text('a = dict(b=1, c=[1, 2])\n')
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
    cfg = parse('small.py', '--cfg-options', 'a.b=3', 'a.c=[4,5]', '--launcher', 'pytorch')
    assert (cfg.a.b, cfg.a.c, cfg.launcher) == (3, [4, 5], 'pytorch')


def test_data_root_moves_what_lies_below_it(parse, tmp_path):
    (tmp_path / 'data.py').write_text(
        'data_root = "data"\nstore = "data/ntu120"\n'
        'loader = dict(pipeline=[dict(type="data", store="data/ntu120_rois"), dict(word="database")])\n'
    )
    cfg = parse('data.py', '--cfg-options', 'data_root=/elsewhere/', 'other=data/kept')
    assert (cfg.data_root, cfg.store, cfg.other) == (
        '/elsewhere/',
        '/elsewhere/ntu120',
        'data/kept',
    )
    first, second = cfg.loader.pipeline
    assert first.type == 'data'
    assert first.store == '/elsewhere/ntu120_rois' and second.word == 'database'
    assert parse('data.py').loader.pipeline[0].store == 'data/ntu120_rois'


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


def test_hook_of_the_config_wins():
    cfg = Config(dict())
    add_hook(cfg, dict(type='A', x=1))
    add_hook(cfg, dict(type='A', x=2))
    add_hook(cfg, dict(type='B'))
    assert [hook.to_dict() for hook in cfg.custom_hooks] == [dict(type='A', x=1), dict(type='B')]
