"""Overrides reach what is derived from the changed value, or are refused by name."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from mmaction.registry import PARAM_SCHEDULERS
from mmengine.config import Config
from mmengine.config import config as mmengine_config
from torch.optim import SGD

from bharnet_mm.engine.config_file import RUNNER_VALUES, load_config, runner_part, value_at
from bharnet_mm.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / 'configs').glob('*.py'))
#: Every data set, schedule, kind of model and way in which shipped configs derive values.
SOME = {
    'bharnet_e_ntu60',
    'bharnet_m_ntu120',
    'bharnet_m_jhmdb',
    'bharnet_p_drop_asl10',
    'bharnet_m_sample',
    'bharnet_b_nucla',
    'stock_attention_ntu60',
    'stock_regions_ntu60',
}
#: The changes that make the variants out of P; a config is derived from those of its own.
VARIANTS = {f'bharnet_{name}' for name in ('b', 'e', 'light', 'm')} | {'split_at', 'fork', 'half'}
VARIANTS |= {'small', 'small_fork', 'small_e', 'half_of_small', 'small_light'}
VARIANTS |= {'regions', 'with_regions'}
#: Steps of pipelines that not all data sets take.
VARIANTS |= {'flat', 'flat_hand', 'flat_body', 'fill', 'hand_at_wrist', 'fill_and_normalize'}
VARIANTS |= {'augment', 'pack'}
#: Variables that nothing in a config is derived from: their override is refused.
OWN = {'fold'}  # the splits of own videos are those of their store
IDLE = {
    **{f'{name}_own': OWN for name in ('body', 'hand', 'bharnet_b', 'bharnet_e', 'bharnet_p')},
    'bharnet_m_own': OWN,
    'bharnet_light_own': OWN,
    # The regions take the place of all that the data set does with skeletons.
    'stock_regions_ntu60': {'num_frames', 'prepare', 'train_pipeline', 'test_pipeline'},
    # A stock network has no masks, and this schedule no warm-up and one milestone.
    **{path.stem: {'visibility'} for path in CONFIGS if path.stem.startswith('unified_')},
    **{f'bharnet_b_nucla_axes{ten}': {'middle', 'warmup'} for ten in ('', '_ten')},
}


def load(name, **overrides):
    return load_config(ROOT / f'configs/{name}.py', overrides)


def changed(name, value):
    """An override of a variable: another number, text or list, or another leaf of a dict."""
    if isinstance(value, bool) or value is None:
        return name, not value
    if isinstance(value, int):
        return name, 2 * value + 1
    if isinstance(value, float):
        return name, value / 2
    if isinstance(value, str):
        return name, f'{value}x'
    if isinstance(value, Mapping):
        key = next(iter(value))
        return changed(f'{name}.{key}', value[key])
    return name, [*value[1:], *value[:1]] if len(value) > 1 else []


@pytest.mark.parametrize(
    'path',
    [pytest.param(path, marks=() if path.stem in SOME else pytest.mark.long) for path in CONFIGS],
    ids=lambda path: path.stem,
)
def test_every_variable_has_an_effect_or_is_refused(path):
    cfg = load_config(path)
    variables = [name for name in cfg if name not in RUNNER_VALUES]
    before, refused = runner_part(cfg), set()
    for variable in variables:
        name, value = changed(variable, cfg[variable])
        try:
            after = load_config(path, {name: value})
        except ConfigError as error:
            assert name in str(error)
            refused.add(variable)
        else:
            assert runner_part(after) != before, name
            assert value_at(after, name) == value
    assert refused - VARIANTS == IDLE.get(path.stem, set())


def test_protocol_and_store_reach_loaders_and_regions():
    cfg = load('bharnet_m_ntu120', protocol='xset', store='elsewhere/ntu')
    splits = [cfg[f'{part}_dataloader'].dataset.split for part in ('train', 'val', 'test')]
    assert splits == ['xset_train', 'xset_test', 'xset_test']
    for part in ('train', 'val', 'test'):
        data = cfg[f'{part}_dataloader'].dataset
        assert data.store == 'elsewhere/ntu'  # its regions lie beside it
        assert 'store' not in data.regions


@pytest.mark.parametrize('name', ['bharnet_e_ntu60', 'bharnet_e_asl10'])
def test_the_fork_of_e_follows(name):
    model = load(name, split_at=1).model
    assert model.backbone.body.split_at == model.backbone.hand.split_at == 1


def test_data_root_moves_all_stores():
    cfg = load('bharnet_m_jhmdb', data_root='/elsewhere')
    assert cfg.store == '/elsewhere/jhmdb'
    data = cfg.test_dataloader.dataset
    assert data.store == '/elsewhere/jhmdb' and 'store' not in data.regions


def test_length_of_a_clip_reaches_the_windows():
    cfg = load('bharnet_p_ntu60', num_frames=32)
    for part in ('train', 'val', 'test'):
        (window,) = (
            step
            for step in cfg[f'{part}_dataloader'].dataset.pipeline
            if step.type == 'SampleWindow'
        )
        assert window.num_frames == 32


@pytest.mark.parametrize('epochs', [1, 2, 3, 7, 40])
@pytest.mark.parametrize('name', ['bharnet_p_ntu60', 'bharnet_p_sample', 'bharnet_m_jhmdb'])
def test_schedules_follow_the_epochs(name, epochs):
    cfg = load(name, max_epochs=epochs)
    assert cfg.train_cfg.max_epochs == epochs
    steps = 3
    parts = [
        PARAM_SCHEDULERS.build(
            dict(dict(end=epochs) | part),
            default_args=dict(optimizer=SGD([torch.zeros(1)], lr=0.1), epoch_length=steps),
        )
        for part in cfg.param_scheduler
    ]
    length = 1 if parts[0].by_epoch else steps
    warmup, cosine = parts[:2]
    assert warmup.end == cosine.begin <= max(epochs / 2, 1) * length
    assert cosine.end <= max(epochs, 2) * length and cosine.T_max >= 1
    assert all(part.begin < part.end for part in parts)


def test_a_part_of_a_variable_is_followed_too():
    cfg = load('bharnet_m_jhmdb', **{'regions.cell': 48, 'small.base_channels': 16})
    assert cfg.train_dataloader.dataset.regions.cell == 48
    assert cfg.model.backbone.body.base_channels == cfg.model.backbone.hand.base_channels == 16
    assert cfg.train_dataloader.dataset.regions.missing == 'mask'  # the rest of it stays


def test_a_part_of_what_the_runner_reads_changes_alone():
    cfg = load('bharnet_p_sample', **{'val_dataloader.batch_size': 7})
    assert (cfg.val_dataloader.batch_size, cfg.test_dataloader.batch_size) == (7, 60)
    assert load('bharnet_p_sample').val_dataloader.batch_size == 60  # and only in this config


def test_several_overrides_work_together():
    cfg = load('bharnet_p_asl10', data_root='d', fold='S2', **{'model.cls_head.loss_nor': 0.1})
    assert cfg.train_dataloader.dataset.store == 'd/asl10'
    assert cfg.test_dataloader.dataset.split == 'S2_test' and cfg.model.cls_head.loss_nor == 0.1


def test_what_the_config_has_already_is_no_mistake():
    assert runner_part(load('bharnet_p_ntu60', protocol='xsub')) == runner_part(
        load('bharnet_p_ntu60')
    )


def test_the_config_keeps_its_name_and_text():
    plain, cfg = load('bharnet_p_ntu60'), load('bharnet_p_ntu60', protocol='xview')
    assert cfg.filename == plain.filename and cfg.text == plain.text


def test_assignments_in_parts_and_loops_are_followed(tmp_path):
    (tmp_path / 'base.py').write_text(
        'kinds = [1]\nkinds += [2]\nfor size in (3, 4):\n    last = size\n'
        'model = dict(kinds=kinds, last=last)\n'
    )
    (tmp_path / 'top.py').write_text(
        "_base_ = ['base.py']\nload_from = f'{_base_.last}.pth'\nlog_level = '{{ _base_.last }}'\n"
    )
    cfg = load_config(tmp_path / 'top.py', {'kinds': [9], 'last': 7})
    assert cfg.model.to_dict() == {'kinds': [9], 'last': 7} and cfg.load_from == '7.pth'


def test_placeholders_of_mmengine_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv('CLIPS', 'clips')
    (tmp_path / 'placed.py').write_text(
        "root = '{{$CLIPS:none}}'\nwork_dir = f'{root}/{{ fileBasenameNoExtension }}'\n"
        "rate = 3\noptim_wrapper = dict(lr=rate, type='{{$WRAPPER:OptimWrapper}}')\n"
    )
    cfg = load_config(tmp_path / 'placed.py', {'rate': 5})
    assert cfg.work_dir == 'clips/placed'
    assert cfg.optim_wrapper.to_dict() == dict(lr=5, type='OptimWrapper')
    assert load_config(tmp_path / 'placed.py', {'root': 'there'}).work_dir == 'there/placed'


@pytest.mark.parametrize(
    'name, hint',
    [
        ('train_dataloder.batch_size', "write 'train_dataloader' for 'train_dataloder'"),
        ('train_dataloader.bach_size', "write 'batch_size' for 'bach_size'"),
        ('protocl', "write 'protocol' for 'protocl'"),
        ('model.backbne.feature', "write 'backbone'"),
        ('model.backbone.featur', "write 'feature'"),
        ('model.backbone.body.num_steam', "write 'num_stream'"),
        ('optim_wrapper.optimizer.momentm', "write 'momentum'"),
        ('env_cfg.cudnn_benchmrk', "write 'cudnn_benchmark'"),
        ('auto_scale_lr.enabel', "write 'enable'"),
        ('train_dataloader.dataset.pipeline.1.max_gaps', "write 'max_gap'"),
        ('train_dataloader.dataset.pipeline.99.prob', 'a place from 0 to'),
        ('quite.another', 'which nothing reads'),
    ],
)
def test_slips_of_the_pen_are_refused_with_the_right_name(name, hint):
    with pytest.raises(ConfigError) as caught:
        load('bharnet_p_ntu60', **{name: 4})
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    'name, value',
    [
        ('load_from', 'a.pth'),
        ('work_dir', 'here'),
        ('train_dataloader.pin_memory', True),
        ('optim_wrapper.accumulative_counts', 2),
        ('optim_wrapper.type', 'AmpOptimWrapper'),
        ('model.backbone.hand.num_blocks', 3),
        ('model.cls_head.fusion', 'noisy_or'),
        ('custom_hooks', []),
    ],
)
def test_what_a_class_or_the_runner_takes_is_accepted(name, value):
    assert value_at(load('bharnet_p_ntu60', **{name: value}), name) == value


def test_a_slip_in_the_file_itself_is_refused(tmp_path):
    file = tmp_path / 'config.py'
    file.write_text('train_dataloder = dict(batch_size=4)\n')
    with pytest.raises(ConfigError, match="write 'train_dataloader'"):
        load_config(file)
    file.write_text('train_dataloader = dict(bach_size=4)\n')
    with pytest.raises(ConfigError, match="write 'batch_size'"):
        load_config(file)


def test_a_text_for_a_number_is_refused():
    with pytest.raises(ConfigError, match=r"max_epochs: found 'ten'; expected a number"):
        load('bharnet_p_ntu60', max_epochs='ten')


def test_a_change_that_leaves_its_relatives_is_pointed_out(caplog, monkeypatch):
    said = []
    monkeypatch.setattr(
        'bharnet_mm.engine.config_file.print_log', lambda text, **options: said.append(text)
    )
    load('bharnet_p_ntu60', **{'train_cfg.max_epochs': 3})
    assert len(said) == 1 and '--cfg-options max_epochs=3' in said[0]
    load('bharnet_p_ntu60', **{'train_cfg.val_interval': 3})
    assert len(said) == 1


def test_an_unchanged_config_is_formatted_once():
    kept = mmengine_config.FormatCode.kept
    cfg = Config(dict(model=dict(type='BHaRNet', sizes=[1, 2]), lr=0.1))
    plain = Config(dict(model=dict(type='BHaRNet', sizes=[1, 2]), lr=0.1), format_python_code=False)
    first, before = cfg.pretty_text, kept.cache_info()
    assert cfg.pretty_text == first != plain.pretty_text
    after = kept.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)
    cfg.lr = 0.2
    assert 'lr = 0.2' in cfg.pretty_text
